"""A package to begin a source of one's own with: it installs, and passes the generic tests."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ncpl_data.catalog.errors import InputError

NAME = re.compile(r"[a-z][a-z0-9_]{1,40}")

RUNS = """name,layers,width,learning_rate,batch,sequence,steps,val_loss
small,12,768,0.001,64,1024,10000,3.4121
smaller,6,512,0.002,64,1024,10000,3.8034
"""

PROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{dashed}-ncpl"
version = "0.1"
dependencies = ["ncpl-data"]

[project.entry-points."ncpl_data.sources"]
{name} = "{name}_ncpl:SOURCE"

[tool.setuptools.package-data]
"{name}_ncpl" = ["data/*"]
"""

MODULE = '''"""{name}: say here what was trained, and what varies."""

from ncpl_data.catalog.record import Run
from ncpl_data.ingest.base import CsvRow, Origin, RawFile, Source, csv_rows

COLUMNS = ("name", "layers", "width", "learning_rate", "batch", "sequence", "steps", "val_loss")

# How each value is known: logged, declared, or {{"kind": "derived", "rule": "..."}}.
LOGGED = (
    "n_layers", "d_model", "learning_rate", "batch_size_sequences", "sequence_length",
    "train_steps", "final_loss", "final_loss_metric",
)
DECLARED = ("status", "final_loss_unit", "metrics", "optimizer", "dataset", "tokenizer", "stage")
ORIGINS = dict.fromkeys(LOGGED, "logged") | dict.fromkeys(DECLARED, "declared")
ORIGINS["train_tokens"] = {{"kind": "derived", "rule": "batch x sequence x steps"}}


def read(files):
    """Yield a Run, or a Skipped with its reason, for every record. No network, no clock."""
    for line, values in csv_rows(files["runs.csv"], "{name}", COLUMNS):
        row = CsvRow("{name}", "runs.csv", line, values)
        batch, sequence, steps = (row.count(c) for c in ("batch", "sequence", "steps"))
        yield Run(
            run_id=f"{name}/{{row.text('name')}}",
            source="{name}",
            source_run=row.text("name"),
            stage="pretrain",
            n_layers=row.count("layers"),
            d_model=row.count("width"),
            optimizer="adamw",
            learning_rate=row.number("learning_rate"),
            batch_size_sequences=batch,
            sequence_length=sequence,
            train_steps=steps,
            train_tokens=batch * sequence * steps,
            dataset="state the data set",
            tokenizer="state the tokenizer",
            status="finished",
            final_loss=row.number("val_loss"),
            final_loss_metric="validation/loss",
            final_loss_unit="nats_per_token",
            metrics=({{"name": "validation/loss", "unit": "nats_per_token"}},),
            origins=ORIGINS,
        )


FILE = RawFile(
    "runs.csv",
    sha256="{sha256}",
    n_bytes={n_bytes},
    bundled="{name}_ncpl:data/runs.csv",
)
SOURCE = Source(
    name="{name}",
    title="say what it is",
    owner="say whose it is",
    licence=None,
    citation="say how it is cited",
    url="https://example.org",
    origins=(
        Origin(
            "upstream", "the table", None, "none", "https://example.org", "1", (FILE,), 2, read
        ),
    ),
    traps=("say what a reader must know",),
)
'''


def write_template(name: str, folder: Path) -> list[str]:
    """Write a package with a source of some name into a new folder; return its files.

    Raises InputError for a name no source can have, or a folder that is not empty.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f'"{name[:60]}" is no name of a source; expected small letters, digits and underscores'
        )
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name a new folder")
    content = RUNS.encode()
    about = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "sha256": hashlib.sha256(content).hexdigest(),
        "n_bytes": f"{len(content):_}",
    }
    files = {
        "pyproject.toml": PROJECT.format(**about).encode(),
        f"{name}_ncpl/__init__.py": MODULE.format(**about).encode(),
        f"{name}_ncpl/data/runs.csv": content,
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text)
    return [str(folder / path) for path in files]
