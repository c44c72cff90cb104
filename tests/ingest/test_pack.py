from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from ncpl_data.catalog.parquet import file_sha256
from ncpl_data.ingest.pack import main
from ncpl_data.ingest.packed import read_packed
from ncpl_data.ingest.sources import marin


def test_packing_keeps_every_byte_and_prints_the_pin(
    fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = fixtures / "marin" / "eval_curves.jsonl"
    content = (fixtures / "marin" / "runs.jsonl").read_bytes()
    packed = tmp_path / "runs.jsonl.gz"
    packed.write_bytes(gzip.compress(content))
    target = tmp_path / "marin.parquet"
    main([str(target), str(plain), str(packed)])
    assert read_packed(target, "marin") == {
        "eval_curves.jsonl": plain.read_bytes(),
        "runs.jsonl": content,
    }
    assert capsys.readouterr().out.split() == [
        "marin.parquet",
        str(target.stat().st_size),
        file_sha256(target),
    ]


def test_the_shipped_marin_file_holds_the_gathered_bytes() -> None:
    shipped, lines = marin.SOURCE.origins[:2]
    path = shipped.files[0].bundled_path()
    assert path is not None
    contents = read_packed(path, "marin")
    pinned = {file.name: file for file in lines.files}
    for name, content in contents.items():
        assert len(content) == pinned[name].n_bytes
        assert hashlib.sha256(content).hexdigest() == pinned[name].sha256
