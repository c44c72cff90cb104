"""Importers: one file a format of other programs' logs. A new one is listed here by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
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


def importer(name: str) -> Callable[[str, Options], Iterator[dict[str, Any]]]:
    """Return the function that turns a path of one format into run documents."""
    module = import_module(f"ncpl_data.ingest.importers.{MODULES[name]}")
    read: Callable[[str, Options], Iterator[dict[str, Any]]] = module.read
    return read
