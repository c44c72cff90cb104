"""Folders of logs: names of runs from the paths, and one bad file that does not stop the others."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import Options

NO_NAMES = frozenset(
    (
        *("log", "logs", "logging", "train", "training", "run", "runs", "output", "outputs"),
        *("stdout", "stderr", "slurm", "results", "metrics", "main", "history", "events", "tmp"),
        *("default", "version_0", "lightning_logs", "trainer_state", "trainer_log", "wandb"),
        *("files", "tensorboard", "tb"),
    )
)
"""Names that many folders and files share: they tell no run from another."""


def names_of(paths: Sequence[Path], root: Path) -> dict[Path, str]:
    """Return a name of each file's run: its stem, its folders where that is not enough.

    A name that says nothing (`train`, `run`, `log`) gets a part of the content's hash.
    """
    stems = Counter(path.stem for path in paths)
    found = {}
    for path in paths:
        name = path.stem
        if stems[name] > 1:  # out/a/log.txt and out/b/log.txt: the folder tells them apart
            name = "-".join(path.relative_to(root).with_suffix("").parts)
        found[path] = telling(name, path)
    return found


def telling(name: str, content: Path) -> str:
    """Return a name that tells this run from others: with a part of a file's hash if need be."""
    if name.lower() not in NO_NAMES:
        return name
    try:
        digest = hashlib.sha256(content.read_bytes()).hexdigest()
    except OSError:
        return name
    return f"{name}-{digest[:8]}"


def each_run(
    paths: Sequence[Path],
    convert: Callable[[Path], dict[str, Any]],
    options: Options,
) -> Iterator[dict[str, Any]]:
    """Yield the run of each path; of several, one that can not be read is passed over and told.

    Raises InputError, the first there was, where no path gives a run.
    """
    failed: list[InputError] = []
    n_given = 0
    for path in paths:
        try:
            document = convert(path)
        except InputError as error:
            if len(paths) == 1:
                raise
            failed.append(error)
            options.notes.append(f"passed over: {error}")
            continue
        n_given += 1
        yield document
    if failed and not n_given:
        for _ in failed:
            options.notes.pop()
        raise failed[0]
