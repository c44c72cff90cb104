"""MLflow: a tracking folder (mlruns), one of its experiments or one of its runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import Draft, Options
from ncpl_data.ingest.importers.config_file import read_config
from ncpl_data.ingest.importers.folders import each_run
from ncpl_data.ingest.importers.huggingface import NOT_CURVES, curve_name, set_batch
from ncpl_data.ingest.importers.programs import programs_of
from ncpl_data.ingest.importers.spelling import number_of

PRIMARY = ("eval/loss", "validation/loss", "val/loss", "eval_loss", "val_loss")
ENDED = {3: "finished", 4: "failed", 5: "truncated"}
STATUS = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "truncated"}


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield the runs of a folder, in order of their ids.

    Parameters are taken by --aliases (default: told by their keys); all are kept verbatim.
    """
    root = Path(path)
    runs = sorted(p.parent for p in root.rglob("meta.yaml") if (p.parent / "metrics").is_dir())
    if not runs:
        raise InputError(f"{path} holds no MLflow run; expected folders with meta.yaml and metrics")
    for folder in runs:
        if not (root.resolve() in folder.resolve().parents or root.resolve() == folder.resolve()):
            raise InputError(f"{folder} leads out of {root}")
    yield from each_run(runs, lambda folder: read_run(folder, options), options)


def read_run(folder: Path, options: Options) -> dict[str, Any]:
    """Return one run."""
    meta = read_config(folder / "meta.yaml")
    if meta.get("lifecycle_stage") == "deleted":
        raise InputError(f"{folder} was deleted in MLflow; restore it or remove the folder")
    # Names of runs repeat inside an experiment; ids do not.
    draft = Draft(options, str(meta.get("run_id") or folder.name), str(folder))
    draft.set("/source_run", meta.get("run_name"))
    params = {key: parameter(value) for key, value in values(folder / "params")}
    programs = programs_of(params, options.aliases)
    for program in programs:
        draft.apply(program, params)
    draft.raw_config = dict(values(folder / "params"))
    if options.config:
        draft.apply("common", read_config(options.config))
    if "huggingface" in programs:
        set_batch(draft, params, {})
    found = [row for name, text in values(folder / "metrics") for row in rows(name, text, folder)]
    for _, place, name, value, step in sorted(found, key=lambda row: (row[0], row[4], row[1])):
        if "huggingface" not in programs:
            draft.point(name, step, value, place=place)
        elif name not in NOT_CURVES and not name.endswith(("_runtime", "_per_second")):
            draft.point(name if "/" in name else curve_name(name), step, value, place=place)
    ended = meta.get("status")
    status = ENDED.get(ended) if isinstance(ended, int) else STATUS.get(str(ended))
    draft.set("/outcome/status", status)
    start, end = meta.get("start_time"), meta.get("end_time")
    if isinstance(start, int) and isinstance(end, int) and end > start:
        rule = {"kind": "derived", "rule": "end_time - start_time"}
        draft.set("/system/wall_time_seconds", (end - start) / 1000, rule)
    return draft.document(PRIMARY)


def parameter(text: str) -> Any:
    """Return a parameter as the number it is, else as text."""
    number = number_of(text)
    return text if number is None else number


def values(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the files of one folder; a name may hold slashes."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(folder).as_posix(), path.read_text("utf-8", errors="replace")


def rows(name: str, text: str, folder: Path) -> Iterator[tuple[int, int, str, float, int]]:
    """Yield (time, line, name, value, step) of one metric: a line is time, value, step.

    Raises InputError for a line of another form.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            time, value, step, *_ = line.split()
            yield int(time), number, name, float(value), int(step)
        except ValueError as error:
            raise InputError(
                f'{folder}/metrics/{name} line {number}: "{line[:60]}"; expected time, value, step'
            ) from error
