"""What holds of every source: counts, ids, schema, origins; and that a re-read changes nothing."""

from __future__ import annotations

import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin
from ncpl_data.ingest.sources import SOURCES
from ncpl_data.schema.batch import invalid_documents

# Columns that say where a record is from, not what the run was.
PROVENANCE = {
    "run_id",
    "source",
    "source_run",
    "schema_version",
    "same_as",
    "licence",
    "citation",
    "url",
    "revision",
    "file",
    "file_sha256",
    "record",
    "is_copy",
    "contributor",
    "notes",
    "flags",
    "origins",
    "raw_config",
}


def shipped_origins() -> list[tuple[str, str]]:
    return [
        (name, origin.name)
        for name, source in SOURCES.items()
        for origin in source.origins
        if origin.bundled_paths() is not None
    ]


def origin_of(source: str, name: str) -> Origin:
    return next(origin for origin in SOURCES[source].origins if origin.name == name)


@cache
def read(source: str, name: str) -> tuple[Run | Skipped, ...]:
    origin = origin_of(source, name)
    paths = origin.bundled_paths()
    assert paths is not None
    return tuple(origin.read(paths))


def runs_of(source: str, name: str) -> list[Run]:
    return [item for item in read(source, name) if isinstance(item, Run)]


pytestmark = pytest.mark.parametrize(("source", "name"), shipped_origins())


def test_shipped_files_are_the_pinned_ones(source: str, name: str) -> None:
    origin = origin_of(source, name)
    paths = origin.bundled_paths()
    assert paths is not None
    for file in origin.files:
        assert paths[file.name].stat().st_size == file.n_bytes, file.name
        assert file_sha256(paths[file.name]) == file.sha256, file.name


def test_shipped_files_are_of_a_type_the_package_takes_along(source: str, name: str) -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    taken = tomllib.loads(text)["tool"]["setuptools"]["package-data"]["*"]
    for path in (origin_of(source, name).bundled_paths() or {}).values():
        assert any(path.match(pattern) for pattern in taken), path.name


def test_it_holds_as_many_runs_as_its_sheet_says_each_once(source: str, name: str) -> None:
    runs = runs_of(source, name)
    assert len(runs) == origin_of(source, name).n_runs
    assert len({run.run_id for run in runs}) == len(runs)
    assert all(run.run_id.startswith(f"{source}/") and run.source == source for run in runs)


def test_every_run_obeys_the_schema(source: str, name: str) -> None:
    documents = [run.to_document() for run in runs_of(source, name)]
    problems = {documents[i]["run_id"]: found for i, found in invalid_documents(documents, "run")}
    assert not problems


def test_every_value_has_an_origin(source: str, name: str) -> None:
    """A null may have one too: that of a value which was removed."""
    unexplained: Counter[str] = Counter()
    for run in runs_of(source, name):
        stated = {column for column, value in run.row().items() if value is not None}
        unexplained.update(stated - PROVENANCE - set(run.origins or {}))
    assert not unexplained


def test_every_curve_has_a_metric_with_a_unit(source: str, name: str) -> None:
    for run in runs_of(source, name):
        declared = {metric["name"] for metric in run.metrics or ()}
        assert {curve.metric for curve in run.curves} <= declared, run.run_id


def test_a_loss_has_a_metric_and_a_unit(source: str, name: str) -> None:
    for run in runs_of(source, name):
        has_loss = run.final_loss is not None
        if has_loss:
            assert run.final_loss_metric, run.run_id
            assert run.final_loss_unit, run.run_id


def test_links_inside_a_source_lead_somewhere(source: str, name: str) -> None:
    runs = runs_of(source, name)
    ids = {run.run_id for run in runs}
    for run in runs:
        links = [*(run.same_as or ()), *([run.parent_run_id] if run.parent_run_id else [])]
        assert run.run_id not in links
        assert all(link in ids for link in links if link.startswith(f"{source}/")), run.run_id


def test_reading_again_gives_the_same(source: str, name: str) -> None:
    origin = origin_of(source, name)
    paths = origin.bundled_paths()
    assert paths is not None
    again = [item for item in origin.read(paths) if isinstance(item, Run)]
    assert Counter(r.content_hash() for r in again) == Counter(
        r.content_hash() for r in runs_of(source, name)
    )
