"""Many documents at once: the fast test and the closer look agree; speed and memory."""

import json
import random
from pathlib import Path

import pytest

from ncpl_data.ingest import validation
from ncpl_data.ingest.documents import read_documents
from ncpl_data.ingest.submit import checked

EXAMPLES = Path(__file__).parents[2] / "schema" / "examples"
BAD = Path(__file__).parents[1] / "fixtures" / "bad"


def lines(n: int, n_points: int) -> list[str]:
    """Return generated run documents of some points, each another run."""
    rng = random.Random(0)
    base = json.loads((EXAMPLES / "dense_pretrain.json").read_text())
    steps = [10_000 * (i + 1) // n_points for i in range(n_points)]
    found = []
    for i in range(n):
        values = [round(2.4 + 30 * s**-0.5 + rng.gauss(0, 0.01), 4) for s in steps]
        curve = {"metric": "train/loss", "step": steps, "value": values}
        outcome = base["outcome"] | {"final_loss": values[-1]}
        document = base | {"run_id": f"many/{i}", "source": "many", "seed": i}
        found.append(json.dumps(document | {"curves": [curve], "outcome": outcome}))
    return found


def one_line(path: Path) -> bytes:
    """Return a document's text as one line; inside texts a line break can not stand anyway."""
    return path.read_bytes().replace(b"\n", b" ").replace(b"\r", b" ")


def test_the_blocks_find_the_same_problems_as_one_document_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("orjson")
    pytest.importorskip("jsonschema_rs")
    broken = [one_line(p) for p in sorted(BAD.glob("*.json")) if p.is_file()]
    broken = [line for line in broken if line.strip() and len(line) < 100_000]
    good = [line.encode() for line in lines(400, 200)]
    twice = good[0].replace(b'"seed": 0', b'"seed": 0, "seed" : 0')
    mixed = [*good, *broken, b"", twice, *good]
    random.Random(1).shuffle(mixed)
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b"\n".join(mixed) + b"\n")
    assert path.stat().st_size > 1 << 20
    for parallel_bytes in (1 << 40, 1):  # in this process, and in others
        monkeypatch.setattr(validation, "PARALLEL_BYTES", parallel_bytes)
        monkeypatch.setattr(validation, "BLOCK_BYTES", 200_000)
        found = list(validation.invalid_documents([path]))
        expected = [
            (d.line, d.pointer, problems)
            for d in read_documents([path])
            if (problems := checked(d)[1])
        ]
        assert [
            (f.document.line, f.document.pointer, list(f.problems)) for _, f in found if f
        ] == expected
        assert found[-1] == (sum(1 for _ in read_documents([path])), None)
    assert len(expected) > 60
    assert any("given twice" in p[0].found for _, _, p in expected)
