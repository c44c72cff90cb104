"""A catalog in a bucket, against a real S3 server on the loopback interface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from made_runs import CONTEXT, environment, made_run, put, write_to_bucket

from ncpl_data.catalog.bucket import is_bucket, open_storage
from ncpl_data.catalog.check import check_catalog
from ncpl_data.catalog.compact import compact
from ncpl_data.catalog.errors import InputError, SourceUnreachableError
from ncpl_data.catalog.folder import LocalFolder
from ncpl_data.catalog.gc import collect
from ncpl_data.catalog.history import versions
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.snapshots.verify import verify_snapshot
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main

N_WRITERS, N_COMMITS = 8, 20

pytest.importorskip("obstore")
pytest.importorskip("moto")


def test_a_bucket_keeps_a_catalog_as_a_folder_does(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, local = Catalog(bucket), Catalog(tmp_path / "local")
    for one in (catalog, local):
        put(one, made_run("a"), made_run("b"))
        put(one, made_run("b", final_loss=1.0), made_run("c"))
    assert check_catalog(catalog, deep=True) == []
    taken = take_snapshot(catalog, policy="group-hash")
    verify_snapshot(taken.path)
    assert taken.id == take_snapshot(local, policy="group-hash").id
    monkeypatch.setenv("NCPL_CACHE", str(tmp_path / "another machine"))
    elsewhere = Catalog(bucket)
    assert elsewhere.read("runs").num_rows == 3
    assert compact(elsewhere).version == 3
    assert take_snapshot(elsewhere, policy="group-hash").id == taken.id
    gone = collect(elsewhere, older_hours=0, keep_manifests=1, dry_run=False)
    assert len(gone.manifests) == 2
    assert len(gone.data_files) >= 4
    assert check_catalog(elsewhere, deep=True) == []


def test_a_name_is_taken_once(bucket: str) -> None:
    storage = open_storage(bucket)
    assert storage.put_bytes_if_absent("manifests/1.json", b"a")
    assert not storage.put_bytes_if_absent("manifests/1.json", b"b")
    assert storage.read("manifests/1.json") == b"a"
    assert storage.names("manifests") == ["manifests/1.json"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_writers_lose_and_double_nothing(bucket: str) -> None:
    writers = [
        CONTEXT.Process(target=write_to_bucket, args=(environment(), bucket, w, N_COMMITS))
        for w in range(N_WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(400)
        assert writer.exitcode == 0
    catalog = Catalog(bucket)
    expected = [f"made/{w:02d}-{i:03d}" for w in range(N_WRITERS) for i in range(N_COMMITS)]
    assert sorted(catalog.read("runs")["run_id"].to_pylist()) == expected
    assert catalog.read("curves").num_rows == 20 * len(expected)
    assert versions(catalog.folder) == list(range(1, len(expected) + 1))
    assert check_catalog(catalog) == []


def test_commands_take_the_address(bucket: str, run_command: Callable[..., Result]) -> None:
    put(Catalog(bucket), made_run("a"))
    for args in (("query", "select run_id from runs"), ("stats",), ("check",), ("compact",)):
        result = run_command(main, *args, "--catalog", bucket)
        assert result.exit_code == 0, result.stderr
    result = run_command(main, "snapshot", "--split", "group-hash", "--catalog", bucket)
    assert "snapshot" in result.stdout
    assert "snapshot" in run_command(main, "snapshot", "verify", "--catalog", bucket).stdout


def test_a_server_that_is_away_is_one_sentence(bucket: str) -> None:
    with pytest.raises(SourceUnreachableError, match="did not answer"):
        Catalog("s3://no-such-bucket/x").manifest()


def test_addresses_are_told_from_folders() -> None:
    assert is_bucket("s3://a-bucket/x")
    assert is_bucket(Path("s3://a-bucket/x"))
    assert isinstance(open_storage(Path("s3")), LocalFolder)
    with pytest.raises(InputError, match="expected s3://bucket/prefix"):
        open_storage("s3://UPPER/x")
