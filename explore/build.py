"""The folder of the explorer: pages, and the data they load, as scripts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.explore.details import CHUNK, CurveTable, chunks
from ncpl_data.explore.model import model_data
from ncpl_data.explore.pack import write_script
from ncpl_data.explore.predicted import SHARES, predictions_of
from ncpl_data.explore.runs import run_table
from ncpl_data.explore.summary import summary
from ncpl_data.explore.tables import Tables

if TYPE_CHECKING:
    from ncpl.model.bundle import Bundle

PAGES = Path(__file__).parent / "pages"
MARK = "ncpl-explorer.txt"
"""File by which a folder is known to be one of ours, which may be replaced."""
Tell = Callable[[str], object]


@dataclass(frozen=True)
class Built:
    """What was written."""

    folder: Path
    runs: int
    predicted: int
    n_bytes: int
    first_view_bytes: int
    """Of index.html and all it loads before anything is clicked."""


def build(
    tables: Tables, bundle: Bundle | None, board: dict[str, Any] | None, folder: Path, tell: Tell
) -> Built:
    """Write the explorer into a folder; an explorer that is there is replaced.

    Raises InputError where the folder holds anything else.
    """
    check_folder(folder)
    tell("predictions")
    found = predictions_of(tables.rows, bundle)
    draft = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(PAGES, draft)
    (draft / MARK).write_text("Written by ncpl-data explore; open index.html.\n", encoding="utf-8")
    tell("run table")
    curves = CurveTable(tables.curves)
    points = curves.counts()
    data = draft / "data"
    told = summary(tables, points) | {
        "chunk": CHUNK, "has_model": bundle is not None, "has_board": board is not None,
        "n_predicted": len(found), "shares": SHARES,
    }  # fmt: skip
    write_script(data / "summary.js", "summary", told)
    write_script(data / "runs.js", "runs", run_table(tables.rows, tables.splits, points, found))
    tell("run pages")
    for i, chunk in enumerate(chunks(tables, curves, found)):
        write_script(data / "chunk" / f"{i}.js", f"chunk/{i}", chunk)
    if bundle is not None:
        write_script(data / "model.js", "model", model_data(bundle))
    if board is not None:
        write_script(data / "board.js", "board", board)
    if folder.exists():
        shutil.rmtree(folder)
    draft.rename(folder)
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    first = [folder / name for name in first_view(folder)]
    return Built(
        folder, len(tables.rows), len(found), sum(sizes.values()), sum(sizes[p] for p in first)
    )


def check_folder(folder: Path) -> None:
    """Raise InputError unless a folder is absent, empty, or an explorer."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give --out a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise InputError(
            f"{folder} is not empty and holds no explorer; give --out another folder, nothing was "
            "written"
        )


def first_view(folder: Path) -> list[str]:
    """Return the files that the first page loads."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    parts = [piece.split('"')[0] for mark in ('src="', 'href="') for piece in text.split(mark)[1:]]
    named = [name for name in parts if (folder / name).is_file()]
    return ["index.html", *named, "data/summary.js"]
