"""A source of one published file: its sheet, and whether the file ships."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source


def single_source(
    read: Callable[[Mapping[str, Path]], Iterator[Run | Skipped]],
    *,
    name: str,
    title: str,
    owner: str,
    licence: str | None,
    citation: str,
    url: str,
    revision: str,
    files: Sequence[RawFile],
    files_title: str,
    n_runs: int,
    traps: tuple[str, ...],
) -> Source:
    """Return the sheet of a source with one form of its files."""
    origin = Origin(
        name="upstream",
        title=files_title,
        licence=licence,
        citation=citation,
        url=url,
        revision=revision,
        files=tuple(files),
        n_runs=n_runs,
        read=read,
    )
    return Source(
        name=name,
        title=title,
        owner=owner,
        licence=licence,
        citation=citation,
        url=url,
        origins=(origin,),
        traps=traps,
    )


def run_with(
    logged: Mapping[str, Any],
    declared: Mapping[str, Any],
    derived: Mapping[str, tuple[Any, str]] | None = None,
    **identity: Any,
) -> Run:
    """Return a run whose values say where they come from; values that are None are left out.

    `derived` holds a value and its rule by column; `identity` names the run and its record.
    """
    logged = {column: value for column, value in logged.items() if value is not None}
    rules = {c: (v, rule) for c, (v, rule) in (derived or {}).items() if v is not None}
    origins: dict[str, Any] = dict.fromkeys(declared, "declared") | dict.fromkeys(logged, "logged")
    origins |= {c: {"kind": "derived", "rule": rule} for c, (_, rule) in rules.items()}
    values = {**declared, **logged, **{c: v for c, (v, _) in rules.items()}}
    return Run(**identity, **values, origins=origins)


def validation(name: str, value: float, **about: Any) -> dict[str, Any]:
    """Return what is stated of a final validation loss in nats: four columns of a run."""
    entry = {"name": name, "split": "validation", "unit": "nats_per_token", "value": value, **about}
    return {
        "final_loss": value,
        "final_loss_metric": name,
        "final_loss_unit": "nats_per_token",
        "metrics": (entry,),
    }
