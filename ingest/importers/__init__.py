"""Importers: one file a format of other programs' logs. A new one is listed here by hand.

options = Options(source="lab")
documents = list(importer("auto")(path, options))    # run documents
options.notes                                        # what was decided or left out
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from ncpl_data.ingest.importers.base import Options

MODULES = {
    "csv": "csv_table",
    "hf": "huggingface",
    "log": "text_log",
    "mlflow": "mlflow_folder",
    "tensorboard": "tensorboard_events",
    "wandb": "wandb_export",
}
SIGNS = (
    ("wandb", ("*.wandb", "*history*.parquet", "history.jsonl", "history.csv")),
    ("hf", ("trainer_state.json", "trainer_log.jsonl", "logging.jsonl")),
    ("tensorboard", ("*tfevents*",)),
    ("mlflow", ("meta.yaml",)),
    ("csv", ("metrics.csv", "*.csv", "*.tsv")),
)
"""Files by which a format is known, in the order in which they are looked for."""


def importer(name: str) -> Callable[[str, Options], Iterator[dict[str, Any]]]:
    """Return the function that turns a path of one format, or of any (`auto`), into documents."""
    if name == "auto":
        return read_any
    module = import_module(f"ncpl_data.ingest.importers.{MODULES[name]}")
    read: Callable[[str, Options], Iterator[dict[str, Any]]] = module.read
    return read


def read_any(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield the runs of a path, in the format its files say."""
    yield from importer(layout_of(path))(path, options)


def layout_of(path: str) -> str:
    """Return the format of a file or folder: that of a telling file name, else a text log."""
    root = Path(path)
    if not root.exists() and path.count("/") == 1:
        return "wandb"  # ENTITY/PROJECT
    for layout, signs in SIGNS:
        if root.is_dir() and any(next(root.rglob(sign), None) for sign in signs):
            return layout
        if root.is_file() and any(root.match(sign) for sign in signs):
            return layout
    return "log"
