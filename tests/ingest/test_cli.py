from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result

from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main

Runner = Callable[..., Result]
COUNTS = "select split, count(*) as runs from splits group by 1 order by 1"


def test_help_of_every_command_has_an_example(run_command: Runner) -> None:
    for name, command in main.commands.items():
        text = run_command(main, name, "--help").stdout
        assert f"ncpl-data {name}" in text.split("Example", 1)[-1], name
        assert "--json" in text or hasattr(command, "commands"), name


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, ncpl_data.ingest.cli as c\n"
        "heavy = {'torch', 'polars', 'pyarrow', 'duckdb', 'numpy', 'jsonschema', 'httpx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_query_writes_every_format(run_command: Runner, filled: Catalog, tmp_path: Path) -> None:
    def query(*args: object) -> str:
        result = run_command(main, "query", COUNTS, "--catalog", filled.root, *args)
        assert result.exit_code == 0
        return result.stdout

    expected = [
        {"split": "id", "runs": 370},
        {"split": "ood", "runs": 694},
        {"split": "train", "runs": 1517},
    ]
    assert "train  1,517" in query()
    assert json.loads(query("--json")) == expected
    assert [json.loads(line) for line in query("--format", "jsonl").splitlines()] == expected
    rows = list(csv.DictReader(io.StringIO(query("--format", "csv"))))
    assert [{"split": r["split"], "runs": int(r["runs"])} for r in rows] == expected
    out = tmp_path / "rows.parquet"
    query("--format", "parquet", "--out", out)
    assert pq.read_table(out).to_pylist() == expected


def test_json_is_one_object_on_stdout(run_command: Runner, filled: Catalog) -> None:
    for args in (
        ("sources",),
        ("sources", "steplaw"),
        ("ingest", "steplaw", "--offline", "--catalog", filled.root),
        ("snapshot", "--catalog", filled.root),
        ("snapshot", "list", "--catalog", filled.root),
        ("snapshot", "verify", "--catalog", filled.root),
    ):
        result = run_command(main, *args, "--json")
        assert result.exit_code == 0, result.stderr
        assert isinstance(json.loads(result.stdout), dict)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("ingest", "nowhere"), 1, 'there is no source "nowhere"; known: '),
        (("ingest",), 2, "name the sources"),
        (("ingest", "--all", "--from", "x"), 2, "--from goes with exactly one source"),
        (("sources", "nowhere"), 1, 'there is no source "nowhere"'),
        (("query", "selct 1"), 1, "the query failed"),
        (("query", "select 1", "--format", "parquet"), 2, "needs --out"),
        (("query", "select 1", "--timeout", "nan"), 2, "nan is no number"),
        (("query", "select '\udcff'"), 1, "the SQL is not UTF-8 from character 8 on"),
        (("stats", "--catalog", "/tmp/\udcff"), 2, "is not UTF-8; rename it"),
        (("stats", "--catalog", "http://x/y"), 2, "neither a folder nor s3://bucket/prefix"),
        (("query", "select 1", "--memory-limit", "-5GB"), 1, "is no amount of memory"),
        (("record", "steplaw", "--out", "/dev/null/x"), 1, "Not a directory"),
        (("snapshot",), 1, "ingest a source first"),
        (("snapshot", "--split", "best"), 1, 'no split policy "best"'),
        (("snapshot", "--name", "../up"), 1, "can not be part of a folder's name"),
        (("snapshot", "verify", "gone"), 1, "0 snapshots"),
    ],
)
def test_wrong_use_is_one_sentence_and_a_code(
    run_command: Runner, tmp_path: Path, args: tuple[str, ...], code: int, message: str
) -> None:
    if args == ("snapshot", "--split", "best"):
        run_command(main, "ingest", "steplaw", "--offline")
    result = run_command(main, *args)
    assert result.exit_code == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "args", [("query",), ("nothing",), ("snapshot", "nothing"), ("query", "select 1", "--at", "x")]
)
def test_wrong_usage_is_an_object_where_asked(run_command: Runner, args: tuple[str, ...]) -> None:
    result = run_command(main, *args, "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert found["exit_code"] == 2
    assert found["error"] in result.stderr


def test_no_column_of_a_query_is_lost(run_command: Runner) -> None:
    result = run_command(main, "query", "select 1 as a, 2 as a, 3 as a_1", "--json")
    assert json.loads(result.stdout) == [{"a": 1, "a_1": 2, "a_1_1": 3}]


def test_a_query_that_never_ends_may_be_allowed(run_command: Runner) -> None:
    result = run_command(main, "query", "select 1 as a", "--timeout", "inf", "--format", "csv")
    assert (result.exit_code, result.stdout) == (0, "a\n1\n")


def test_a_query_says_what_it_wrote_and_that_there_is_no_catalog(
    run_command: Runner, tmp_path: Path
) -> None:
    out = tmp_path / "rows.json"
    result = run_command(main, "query", "select * from runs", "--out", out, "--json")
    assert json.loads(result.stdout) == {"out": str(out), "rows": 0}
    assert json.loads(out.read_text()) == []
    assert "holds no catalog yet" in result.stderr


def test_a_log_without_a_run_is_refused(run_command: Runner, tmp_path: Path) -> None:
    """Too short for one record, so it reads as an event file that was cut off at once."""
    file = tmp_path / "events.out.tfevents.1"
    file.write_bytes(b"short")
    result = run_command(main, "convert", "tensorboard", file, "--source", "lab", "--json")
    assert result.exit_code == 1
    assert "holds no run" in json.loads(result.stdout)["error"]


def test_a_query_that_fails_while_it_reads_prints_one_object(run_command: Runner) -> None:
    sql = "select 1 / (case when i < 5 then 1 else cast('x' as int) end) from range(10) t(i)"
    result = run_command(main, "query", sql, "--json")
    assert result.exit_code == 1
    assert "the query failed" in json.loads(result.stdout)["error"]


def test_max_rejects_and_dry_run_write_nothing(run_command: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    result = run_command(
        main, "ingest", "steplaw", "--offline", "--dry-run", "--strict", "--catalog", folder
    )
    assert "2,819 added" in result.stdout
    assert not folder.exists()


def test_all_offline_leaves_out_what_may_not_ship(run_command: Runner, tmp_path: Path) -> None:
    result = run_command(
        main, "ingest", "--all", "--offline", "--dry-run", "--json", "--catalog", tmp_path / "c"
    )
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert "chinchilla" in found["not_shipped"]
    assert found["unreachable"] == {}
    assert {source["source"] for source in found["sources"]} >= {"steplaw", "marin", "losscast"}
    assert all(source["added"] > 0 for source in found["sources"])
