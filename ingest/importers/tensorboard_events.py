"""Folders of TensorBoard event files: which of them are runs, and which are parts of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import BATCH, Draft, Options
from ncpl_data.ingest.importers.config_file import read_config
from ncpl_data.ingest.importers.event_file import events
from ncpl_data.ingest.importers.folders import each_run, telling

PRIMARY = ("eval/loss", "validation/loss", "val/loss")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "eval", "dev"), "validation"),
    "test": "test",
}
"""Folders that hold one part of a run's data (Keras, estimators), and what its metrics are."""


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield one run for each folder of event files.

    A folder below that only holds one value of a group (`add_scalars`) belongs to the run above;
    so do `train` and `validation` side by side. One that only holds hyperparameters is no run.
    Hyperparameters are in no event file: give them with --config FILE --aliases NAME, or --set.
    """
    root = Path(path)
    files = [root] if root.is_file() else sorted(root.rglob("*tfevents*"))
    if not files:
        raise InputError(f"{path} holds no event file (events.out.tfevents.*)")
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    runs: dict[Path, list[Path]] = {}
    for folder, own in folders.items():
        if holds_scalars(own):
            runs.setdefault(run_of(folder, folders, root), []).append(folder)
    names = Counter(run.resolve().name for run in runs)

    def convert(run: Path) -> dict[str, Any]:
        name = run.resolve().name
        if names[name] > 1:
            name = "-".join(run.relative_to(root).parts) or name
        draft = Draft(options, telling(name, folders[runs[run][0]][0]), str(run))
        return read_run(draft, {part: folders[part] for part in runs[run]}, run)

    yield from each_run(list(runs), convert, options)


def holds_scalars(files: list[Path]) -> bool:
    """Return whether files hold a scalar that is no hyperparameter's result; bad ones do."""
    try:
        return any(not e.tag.startswith("hparam/") for f in files for e in events(f))
    except InputError:
        return True


def run_of(folder: Path, folders: dict[Path, list[Path]], root: Path) -> Path:
    """Return the folder of the run that a folder of event files belongs to."""
    for above in folder.parents:
        if above in folders and holds_group(folder, above, folders):
            return above
    above = folder.parent
    beside = [f for f in folders if f.parent == above and f.name.lower() in SPLITS]
    is_part = folder in beside and (len(beside) > 1 or above in folders)
    return above if is_part and (above == root or root in above.parents) else folder


def holds_group(folder: Path, above: Path, folders: dict[Path, list[Path]]) -> bool:
    """Return whether a folder holds nothing but one value of a group of scalars."""
    own = folder.relative_to(above).as_posix()
    try:
        tags = {e.tag for file in folders[folder] for e in events(file)}
    except InputError:
        return False
    return bool(tags) and all(value_of_group(own, tag) for tag in tags)


def value_of_group(folder: str, tag: str) -> str | None:
    """Return which value of a group a folder holds: `loss/train`, `loss_train` of the tag loss."""
    for head in (f"{tag}/", tag.replace("/", "_") + "_"):
        if folder.startswith(head):
            return folder[len(head) :]
    return None


def metric_in(folder: str, tag: str) -> str:
    """Return the metric that a tag is in a folder of a run; "." is the run's own."""
    group = value_of_group(folder, tag)
    if group:
        return f"{tag}/{group}"
    split = SPLITS.get(folder.lower())
    return tag if split is None or tag.startswith(f"{split}/") else f"{split}/{tag}"


def read_run(draft: Draft, parts: dict[Path, list[Path]], folder: Path) -> dict[str, Any]:
    """Return the run of one folder and of its parts."""
    if draft.options.config:
        draft.apply(draft.options.aliases, read_config(draft.options.config))
    found = [
        (event, metric_in(part.relative_to(folder).as_posix(), event.tag))
        for part, files in parts.items()
        for file in files
        for event in events(file)
    ]
    for event, metric in sorted(found, key=lambda pair: pair[0].time):
        draft.point(metric, event.step, event.value, restarts_at=event.restarts_at)
    draft.settle()
    state_megatron_batch(draft)
    return draft.document(PRIMARY)


def state_megatron_batch(draft: Draft) -> None:
    """State the batch that Megatron logs: that of a whole step, in sequences."""
    batches = set(draft.points.get("batch-size", {}).values())
    if "lm_loss" in draft.points and len(batches) == 1:
        draft.set(BATCH, int(batches.pop()))
