"""Many documents at once: the quick test and the closer look agree, however a file is cut."""

import json
import os
import random
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from ncpl_data.ingest.submissions import documents, limits
from ncpl_data.ingest.submissions import validate as validation
from ncpl_data.ingest.submissions.documents import read_documents
from ncpl_data.ingest.submissions.finding import checked
from ncpl_data.ingest.submissions.quick import quick_test

sys.path.append(str(Path(__file__).parents[1]))
from made_documents import EXAMPLES, made_lines

BAD = Path(__file__).parents[1] / "fixtures" / "bad"


def one_line(path: Path) -> bytes:
    """Return a document's text as one line; inside texts a line break can not stand anyway."""
    return path.read_bytes().replace(b"\n", b" ").replace(b"\r", b" ")


def bad_lines() -> list[bytes]:
    """Return every broken document as one line, those of JSON lines one by one."""
    whole = [one_line(p) for p in sorted(BAD.rglob("*.json")) if p.is_file()]
    lines = [line for p in BAD.rglob("*.jsonl") for line in p.read_bytes().split(b"\n")]
    return [line.strip() for line in (*whole, *lines) if line.strip()]


def found_in(path: Path, jobs: int) -> list[tuple[int | None, str, list[object]]]:
    """Return (line, place, problems) of each bad document, and check the count at the end."""
    *bad, last = validation.invalid_documents([path], jobs)
    assert last == (sum(1 for _ in read_documents([path])), None)
    return [(f.document.line, f.document.pointer, list(f.problems)) for _, f in bad if f]


def expected_in(path: Path) -> list[tuple[int | None, str, list[object]]]:
    """Return the same, found by one document after the other."""
    return [
        (d.line, d.pointer, problems) for d in read_documents([path]) if (problems := checked(d)[1])
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_ranges_find_the_same_problems_as_one_document_at_a_time(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = list(made_lines(400, 200))
    twice = good[0].replace(b'"seed":0', b'"seed":0,"seed" :0').strip()
    listed = b"[" + good[1].strip() + b", {}]"
    broken = [*bad_lines(), twice, listed, b"", b"  "]
    mixed = [*(line.strip() for line in good), *broken]
    random.Random(1).shuffle(mixed)
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b"\n".join(mixed))  # the last line has no end
    assert path.stat().st_size > validation.SMALL_BYTES
    monkeypatch.setattr(validation, "PARALLEL_BYTES", 1)
    expected = expected_in(path)
    assert len(expected) > 100
    assert any("given twice" in p[0].found for _, _, p in expected)
    for range_bytes in (3_001, 200_000) if jobs == 1 else (200_000,):
        monkeypatch.setattr(validation, "RANGE_BYTES", range_bytes)
        assert found_in(path, jobs) == expected


def test_a_line_longer_than_a_document_may_be_ends_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_JSON_BYTES", 50_000)
    monkeypatch.setattr(validation, "RANGE_BYTES", 20_000)
    good = list(made_lines(300, 200))
    long = b'{"run_id":"' + b"a" * 60_000 + b'"}\n'
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"".join([*good, long, b"broken\n"]))
    assert found_in(path, 1) == expected_in(path)
    assert [(line, p[0].rule) for line, _, p in expected_in(path)] == [(301, "size")]


def test_a_large_file_of_line_breaks_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "SMALL_BYTES", 1_000)
    path = tmp_path / "empty.jsonl"
    path.write_bytes(b"\n" * (validation.SMALL_BYTES + 1))
    assert found_in(path, 1) == expected_in(path)
    assert expected_in(path)[0][2][0].rule == "empty"


def test_the_quick_test_passes_good_documents_with_colons_and_lists_in_them() -> None:
    """Or a file of real documents, which name addresses and origins, would be read slowly."""
    is_surely_good = quick_test()
    passed = [p.stem for p in EXAMPLES.glob("*.json") if is_surely_good(p.read_bytes())]
    assert len(passed) >= 15
    document = json.loads(next(made_lines(1, 20)))
    document["extra"] = {"acme.a": ["x: y", {"b:c": ":"}] * 60}
    assert is_surely_good(json.dumps(document).encode())


@pytest.mark.parametrize(
    "extra",
    [
        '{"acme.a": 1, "acme.a": 1}',
        '{"acme.a": 1, "acme.a": ":"}',
        '{"acme.a": "\\u003a", "acme.a": 1}',
        '{"acme.a": [1, {"b": 1, "b": 2}]}',
        '{"acme.a": ' + "[" * 120 + "]" * 120 + "}",
        '{"acme.a": [1, ' + "[" * 120 + "]" * 120 + "]}",
        '{"acme.a": 1e999}',
        '{"acme.a": NaN}',
        '{"acme.a": "\\ud800"}',
    ],
)
def test_what_orjson_lets_through_is_never_surely_good(extra: str) -> None:
    line = next(made_lines(1, 20)).rstrip()[:-1] + b', "extra": ' + extra.encode() + b"}"
    assert not quick_test()(line)
    (document,) = documents.line_documents(line, "x", Path(), 1)
    assert checked(document)[1]


def test_every_broken_document_is_in_doubt() -> None:
    is_surely_good = quick_test()
    lines = bad_lines()
    assert len(lines) > 100
    for line in lines:
        for document in documents.line_documents(line, "x", BAD, 1):
            assert not (is_surely_good(line) and checked(document)[1])


@pytest.mark.parametrize(("option", "has_bar"), [("--jobs=1", True), ("--no-progress", False)])
def test_a_bar_is_drawn_where_a_person_watches(option: str, has_bar: bool, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_bytes(b"".join(made_lines(400, 200)))
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    code = "from ncpl_data.ingest.cli import main; main()"
    command = [sys.executable, "-c", code, "validate", str(path), option]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.write(theirs, b"end")
    shown = b""
    while not shown.endswith(b"end"):
        shown += os.read(ours, 10_000)
    os.close(ours)
    os.close(theirs)
    assert done.stdout.startswith(b"400 documents: 400 valid")
    assert (b"validating" in shown) is has_bar
