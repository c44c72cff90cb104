"""Laws of documents: accepted and kept unchanged, or refused; never a crash."""

import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.submissions.documents import Document, read_documents, read_whole
from ncpl_data.ingest.submissions.finding import checked
from ncpl_data.ingest.submissions.lookup import find_runs
from ncpl_data.ingest.submissions.submit import submit
from ncpl_data.schema.batch import validity_test
from ncpl_data.schema.validate import check_document

sys.path.append(str(Path(__file__).parent))
from generated_documents import documents, mutations

EXAMPLES = Path(__file__).parents[2] / "schema" / "examples"
relaxed = settings(
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)


def stated(value: object, depth: int = 0) -> object:
    """Return a document without what says nothing: nulls of fields, empty sections and lists."""
    if isinstance(value, dict):
        found = {
            k: v if k in ("extra", "origins", "raw_config") else stated(v, depth + 1)
            for k, v in value.items()
            if v is not None
        }
        return {k: v for k, v in found.items() if depth > 0 or v or k not in SECTIONS}
    if isinstance(value, (list, tuple)):
        return [stated(item, depth + 1) for item in value]
    return value


SECTIONS = {"model", "optimizer", "schedule", "data", "system", "outcome", "provenance"} | {
    "curves",
    "evals",
}


def sorted_tables(document: dict) -> dict:
    """Return a document with curves and evaluations in the order a catalog keeps them."""
    key = {"curves": lambda c: c["metric"], "evals": lambda e: json.dumps(e, sort_keys=True)}
    return {
        k: sorted(v, key=key[k]) if k in key and isinstance(v, list) else v
        for k, v in document.items()
    }


@given(documents())
@settings(relaxed, max_examples=150)
def test_a_document_of_the_schema_survives_the_record(document: dict) -> None:
    assert check_document(document) == []
    assert validity_test("run")(document)
    run = Run.from_document(document)
    row = json.loads(json.dumps(run.row()))
    again = Run.from_row(row, run.curves, run.evals)
    assert stated(again.to_document()) == stated(document)
    assert again.content_hash() == run.content_hash()


@given(documents())
@settings(relaxed, max_examples=50)
def test_a_document_of_the_schema_survives_the_catalog(tmp_path_factory, document: dict) -> None:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "run.json").write_text(json.dumps(document), "utf-8")
    catalog = Catalog(folder / "catalog")
    done = submit(read_documents([folder / "run.json"]), catalog)
    assert [f.problems for f in done.refused] == []
    (stored,) = find_runs(catalog, [document["run_id"]]).values()
    assert sorted_tables(stated(stored.to_document())) == sorted_tables(stated(document))
    again = submit(read_documents([folder / "run.json"]), catalog)
    assert (again.added, again.updated, len(again.unchanged)) == ([], [], 1)


@given(mutations())
@settings(relaxed, max_examples=300)
def test_one_step_outside_the_schema_is_refused(mutation: tuple[str, dict]) -> None:
    what, document = mutation
    problems = check_document(document)
    assert problems, what
    assert not validity_test("run")(document), what
    assert all(len(str(p)) < 2_000 for p in problems)


def corrupted(rng: random.Random, seeds: list[bytes]) -> bytes:
    """Return random bytes, or a document with some of its bytes changed."""
    kind = rng.random()
    if kind < 0.3:
        return rng.randbytes(rng.randint(0, 200))
    if kind < 0.5:
        words = [
            b"{",
            b"}",
            b"[",
            b"]",
            b'"',
            b":",
            b",",
            b"1",
            b"-",
            b"e9",
            b"null",
            b"\\u",
            b"&a",
        ]
        words += [b"*a", b"\n", b" ", b"!!", b"---", b"run_id", b"|", b">", b"%", b"\xff", b"<<"]
        return b"".join(rng.choice(words) for _ in range(rng.randint(1, 60)))
    text = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(text))
        action = rng.random()
        if action < 0.4:
            text[at] = rng.randrange(256)
        elif action < 0.7:
            del text[at : at + rng.randint(1, 30)]
        else:
            text[at:at] = text[rng.randrange(len(text)) :][: rng.randint(1, 30)]
        if not text:
            return b""
    return bytes(text)


@pytest.mark.parametrize(("suffix", "n"), [(".json", 12_000), (".yaml", 8_000)])
def test_random_bytes_never_crash(suffix: str, n: int, tmp_path: Path) -> None:
    """20,000 byte strings in all: each is a problem or, seldom, a valid document."""
    rng = random.Random(20_261_122)
    names = ("diverged.json", "recurrent_depth.json", "curve_beside.yaml", "submission.yaml")
    seeds = [(EXAMPLES / name).read_bytes()[:1_500] for name in names]
    n_documents = 0
    for _ in range(n):
        for document in read_whole(corrupted(rng, seeds), "bytes", tmp_path, suffix):
            n_documents += 1
            assert isinstance(document, Document)
            _, problems = checked(document)
            for problem in problems[:2]:
                document.line_of(problem.pointer)
                assert str(problem)
    assert n_documents >= n
