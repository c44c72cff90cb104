"""A reader that follows catalog/FORMAT.md and nothing else: json, hashlib and plain pyarrow."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from made_runs import made_run, put

from ncpl_data.catalog.compact import compact
from ncpl_data.catalog.record import Skipped
from ncpl_data.catalog.snapshots.take import take_snapshot
from ncpl_data.catalog.store import Catalog


def read_state(root: Path) -> dict[str, Any]:
    """Return the manifest with the highest number, checked."""
    names = [n for n in (root / "manifests").iterdir() if not n.name.startswith(".tmp-")]
    newest = max(names, key=lambda n: int(n.stem))
    manifest: dict[str, Any] = json.loads(newest.read_bytes())
    assert manifest["format"].partition("/")[2] == "1"
    stated = manifest.pop("sha256")
    text = json.dumps(manifest, sort_keys=True, ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == stated
    return manifest


def read_files(root: Path, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of listed files."""
    rows: list[dict[str, Any]] = []
    for file in files:
        content = (root / file["path"]).read_bytes()
        assert len(content) == file["bytes"]
        assert hashlib.sha256(content).hexdigest() == file["sha256"]
        table = pq.read_table(pa.BufferReader(content))
        assert table.num_rows == file["rows"]
        part = table.to_pylist()
        if file.get("min_run_id"):
            ids = [r["run_id"] for r in part]
            assert (min(ids), max(ids)) == (file["min_run_id"], file["max_run_id"])
            assert ids == sorted(ids)
        rows += part
    return rows


def snapshot_id(manifest: dict[str, Any], tables: dict[str, list[dict[str, Any]]]) -> str:
    """Return the id as the page says to compute it."""
    head = {
        "format": manifest["format"],
        "policy": manifest["selection"]["policy"],
        "schema_version": manifest["schema_version"],
        "seed": manifest["selection"]["seed"],
    }
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for run_id, run_hash in sorted((r["run_id"], r["run_hash"]) for r in tables["runs"]):
        digest.update(f"run\0{run_id}\0{run_hash}\0".encode())
    keys = ("run_id", "split", "split_group")
    for row in sorted(tuple(r[k] for k in keys) for r in tables["splits"]):
        digest.update("\0".join(("split", *row, "")).encode())
    return digest.hexdigest()


def test_a_catalog_is_read_by_its_page(catalog: Catalog) -> None:
    put(catalog, made_run("a"), made_run("b"), skipped=[Skipped("made/x", "crashed")])
    put(catalog, made_run("b", final_loss=1.0), made_run("c", learning_rate=0.5))
    for _ in range(2):
        manifest = read_state(catalog.root)
        tables = {t: read_files(catalog.root, f) for t, f in manifest["tables"].items()}
        assert sorted(r["run_id"] for r in tables["runs"]) == ["made/a", "made/b", "made/c"]
        assert {r["final_loss"] for r in tables["runs"] if r["run_id"] == "made/b"} == {1.0}
        assert {r["run_id"] for r in tables["curves"]} == {r["run_id"] for r in tables["runs"]}
        assert len(tables["curves"]) == 60
        assert len(tables["ingests"]) == 2
        compact(catalog)


def test_a_snapshot_is_read_by_its_page(catalog: Catalog) -> None:
    put(catalog, made_run("a"), made_run("b"))
    put(catalog, made_run("y", source="other", same_as=("made/a",), is_copy=True))
    path = take_snapshot(catalog, policy="group-hash", seed=4).path
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    tables = {t: read_files(path, files) for t, files in manifest["tables"].items()}
    assert snapshot_id(manifest, tables) == manifest["id"]
    assert [r["run_id"] for r in tables["runs"]] == ["made/a", "made/b"]
    listed = {f["path"] for files in manifest["tables"].values() for f in files}
    assert {p.relative_to(path).as_posix() for p in path.rglob("*.parquet")} == listed
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=path, check=False
    )
    assert done.returncode == 0
