"""Weights & Biases projects through `wandb.Api()`, downloaded as an export folder."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError, SourceUnreachableError
from ncpl_data.ingest.importers.spelling import jsonable
from ncpl_data.ingest.secrets import scrubbed

TIMEOUT_SECONDS = 60
PER_PAGE = 100


@contextmanager
def downloaded(project: str) -> Iterator[Path]:
    """Give a temporary folder with every run of a project, one folder a run.

    Raises InputError without the package, SourceUnreachableError without a key or a connection.
    """
    try:
        import wandb
    except ImportError as error:
        raise InputError("reading a W&B project needs the package: pip install wandb") from error
    with tempfile.TemporaryDirectory(prefix="ncpl-wandb-") as folder:
        try:
            api = wandb.Api(timeout=TIMEOUT_SECONDS)
            # With the default lazy=True the configuration of each run costs one more request.
            for run in api.runs(project, per_page=PER_PAGE, lazy=False):
                download_run(run, Path(folder) / run.id)
        except wandb.errors.UsageError as error:
            raise SourceUnreachableError(
                f"W&B: {error}. A key is needed even for public projects: take yours from "
                "https://wandb.ai/authorize and set WANDB_API_KEY"
            ) from error
        except (wandb.errors.CommError, wandb.errors.Error, ValueError, OSError) as error:
            raise SourceUnreachableError(
                f"W&B project {project} can not be read: {error}"
            ) from error
        yield Path(folder)


def download_run(run: Any, folder: Path) -> None:
    """Write one run: configuration without secrets, summary, whole history.

    `history()` would be a sample, and `scan_history(keys=...)` gives only rows that hold all
    keys; so the exported parts are taken whole, and rows not exported yet are scanned after them.
    """
    folder.mkdir(parents=True)
    facts = {
        "run.json": {"id": run.id, "name": run.name, "state": run.state},
        "config.json": scrubbed(dict(run.config)),
        "summary.json": dict(run.summary),
    }
    for name, content in facts.items():
        (folder / name).write_text(json.dumps(jsonable(content)), "utf-8")
    exported = run.download_history_exports(folder, require_complete_history=False)
    if exported.paths and not exported.contains_live_data:
        return
    with (folder / "history.jsonl").open("w", encoding="utf-8") as file:
        for row in run.scan_history():
            file.write(json.dumps(jsonable(row)) + "\n")
