"""Curves beside a document: what a hostile or odd file can not do."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from ncpl_data.ingest.submissions.curve_file import CurveFileError, read_curve_file
from ncpl_data.ingest.submissions.limits import Limits


def parquet(folder: Path, table: pa.Table, **options: object) -> str:
    pq.write_table(table, folder / "curve.parquet", compression="zstd", **options)
    return "curve.parquet"


def repeated(text: str, n: int) -> pa.Array:
    """Return a column of one text, which takes its room once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text]))


POINTS = {"step": [1, 2, 1], "value": [3.0, 2.5, 3.1]}


@pytest.mark.parametrize(
    "names",
    [
        pa.array(["train/loss", "train/loss", "eval/loss"]),
        pa.array(["train/loss", "train/loss", "eval/loss"], pa.large_string()),
        pa.array(["train/loss", "train/loss", "eval/loss"]).dictionary_encode(),
    ],
    ids=str,
)
@pytest.mark.parametrize("row_group_size", [1, 3])
def test_each_way_to_write_a_text_gives_the_same_curves(
    names: pa.Array, row_group_size: int, tmp_path: Path
) -> None:
    table = pa.table({"metric": names, **POINTS})
    name = parquet(tmp_path, table, row_group_size=row_group_size)
    assert read_curve_file(tmp_path, name) == [
        {"metric": "train/loss", "step": [1, 2], "value": [3.0, 2.5]},
        {"metric": "eval/loss", "step": [1], "value": [3.1]},
    ]


def test_a_column_given_twice_is_refused(tmp_path: Path) -> None:
    """One of its values would be lost, and nobody knows which is meant."""
    columns = [pa.array(["train/loss"]), pa.array([1]), pa.array([3.0]), pa.array([2.0])]
    names = ["metric", "step", "value", "value"]
    (tmp_path / "curve.csv").write_text("metric,step,value,value\ntrain/loss,1,3.0,2.0\n")
    for name in ("curve.csv", parquet(tmp_path, pa.Table.from_arrays(columns, names))):
        with pytest.raises(CurveFileError) as caught:
            read_curve_file(tmp_path, name)
        assert caught.value.problem.rule == "columns"


@pytest.mark.parametrize(
    ("column", "values"),
    [("value", ["3.0"]), ("step", ["1"]), ("metric", [1]), ("metric", [["train/loss"]])],
)
def test_a_column_of_another_type_is_named(column: str, values: list, tmp_path: Path) -> None:
    table = {"metric": ["train/loss"], "step": [1], "value": [3.0]} | {column: values}
    with pytest.raises(CurveFileError) as caught:
        read_curve_file(tmp_path, parquet(tmp_path, pa.table(table)))
    assert f"{column} of type" in caught.value.problem.found


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    table = pa.table({"metric": ["a"], "step": [1], "value": [1.0]}).slice(1)
    with pytest.raises(CurveFileError, match="no rows"):
        read_curve_file(tmp_path, parquet(tmp_path, table))


def test_a_name_that_repeats_a_million_times_takes_its_room_once(tmp_path: Path) -> None:
    """The file holds 100 kB of text a million times: 100 GB, were each row its own."""
    n = 1_000_000
    points = {"step": np.zeros(n, np.int8), "value": np.zeros(n, np.float32)}
    table = pa.table({"metric": repeated("a" * 100_000, n), **points})
    (curve,) = read_curve_file(tmp_path, parquet(tmp_path, table, store_schema=False))
    assert len(curve["metric"]) == 100_000
    assert len(curve["step"]) == n


def test_more_metrics_than_a_run_may_have_are_refused_at_once(tmp_path: Path) -> None:
    n = 100_000
    table = pa.table({"metric": [f"m{i}" for i in range(n)], "step": range(n), "value": [1.0] * n})
    with pytest.raises(CurveFileError, match="100,000 metrics"):
        read_curve_file(tmp_path, parquet(tmp_path, table))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(rows=5), "rows"),
        (Limits(metrics=1), "2 metrics"),
        (Limits(bytes=60), "bytes"),
    ],
)
def test_more_than_the_limits_allow_is_refused(
    suffix: str, limits: Limits, message: str, tmp_path: Path
) -> None:
    names, steps = ["train/loss"] * 4 + ["eval/loss"] * 3, [1, 2, 3, 4, 1, 2, 3]
    table = pa.table({"metric": names, "step": steps, "value": [3.0] * 7})
    name = parquet(tmp_path, table)
    if suffix == "csv":
        name = "curve.csv"
        csv.write_csv(table, tmp_path / name)
    assert [len(curve["step"]) for curve in read_curve_file(tmp_path, name)] == [4, 3]
    exact = Limits(rows=7, metrics=2)
    assert len(read_curve_file(tmp_path, name, exact)) == 2
    with pytest.raises(CurveFileError) as caught:
        read_curve_file(tmp_path, name, limits)
    problem = caught.value.problem
    assert problem.rule == "size"
    assert message in problem.found + problem.expected


def test_rows_that_take_too_long_are_refused(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text("metric,step,value\ntrain/loss,1,3.0\n")
    with pytest.raises(CurveFileError, match="takes more than -1 seconds"):
        read_curve_file(tmp_path, "curve.csv", Limits(seconds=-1))


def test_a_file_with_too_many_lines_is_refused_before_its_rows_are_read(tmp_path: Path) -> None:
    """Its first row is no point, which reading would say first."""
    (tmp_path / "curve.csv").write_text("metric,step,value\n" + "a,x,y\n" * 20)
    with pytest.raises(CurveFileError, match="more than 11 lines"):
        read_curve_file(tmp_path, "curve.csv", Limits(rows=10))


def test_what_unpacks_to_more_than_a_file_may_hold_is_refused(tmp_path: Path) -> None:
    n = 50_000
    table = pa.table(
        {"metric": repeated("train/loss", n), "step": np.arange(n), "value": np.full(n, 3.0)}
    )
    name = parquet(tmp_path, table, use_dictionary=False)
    size = (tmp_path / name).stat().st_size
    with pytest.raises(CurveFileError, match="bytes unpacked"):
        read_curve_file(tmp_path, name, Limits(bytes=size))
