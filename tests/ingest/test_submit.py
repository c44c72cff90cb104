"""Submitting: what is added, what is seen to be there already, what is refused and kept."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ncpl_data.catalog.errors import ConflictError
from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.submissions.lookup import find_runs
from ncpl_data.ingest.submissions.rejects import Rejects
from ncpl_data.schema.fields import run_fields

EXAMPLES = Path(__file__).parents[2] / "schema" / "examples"

RUN = {
    "schema_version": "1.0",
    "run_id": "lab/a",
    "source": "lab",
    "model": {"n_layers": 12, "d_model": 768},
    "optimizer": {"name": "adamw", "learning_rate": 0.001},
    "schedule": {"train_steps": 1000, "batch_size_sequences": 64, "sequence_length": 1024},
    "outcome": {
        "status": "finished",
        "final_loss": 3.14159,
        "final_loss_metric": "train/loss",
        "final_loss_unit": "nats_per_token",
    },
    "curves": [{"metric": "train/loss", "step": [500, 1000], "value": [3.6, 3.14159]}],
}


def run(*args: object, stdin: str | None = None) -> tuple[int, dict]:
    result = CliRunner().invoke(
        main, [*map(str, args), "--json"], input=stdin, catch_exceptions=False
    )
    return result.exit_code, json.loads(result.stdout)


def changed(document: dict, **values: object) -> dict:
    """Return a copy with values set; `a__b=1` sets /a/b."""
    copy = json.loads(json.dumps(document))
    for name, value in values.items():
        *folders, last = name.split("__")
        place = copy
        for key in folders:
            place = place.setdefault(key, {})
        place[last] = value
    return copy


def write(path: Path, *documents: dict) -> Path:
    path.write_text("".join(json.dumps(d) + "\n" for d in documents))
    return path


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return tmp_path / "catalog"


def test_every_example_is_accepted_and_a_second_submission_adds_nothing(catalog: Path) -> None:
    code, result = run("submit", EXAMPLES, "--catalog", catalog)
    assert (code, result["problems"]) == (0, [])
    assert result["added"] == 22
    code, again = run("submit", EXAMPLES, "--catalog", catalog)
    assert (code, again["added"], again["unchanged"]) == (0, 0, 22)
    assert again["manifest"] is None


def test_the_examples_use_every_field_of_the_schema(catalog: Path) -> None:
    run("submit", EXAMPLES, "--catalog", catalog)
    rows = Catalog(catalog).read("runs")
    unused = {f.column for f in run_fields() if rows[f.column].null_count == rows.num_rows}
    assert unused <= RARELY_STATED


RARELY_STATED = {
    *("source_run", "d_ff_shared_expert", "nominal_train_tokens", "tensor_parallel"),
    *("pipeline_parallel", "tokens_per_second", "mfu_frac", "step_time_seconds"),
    *("wall_time_seconds", "train_flops", "code_revision", "revision", "file", "file_sha256"),
    *("flags", "loss_family"),
}


def test_curves_beside_the_document_are_read(catalog: Path) -> None:
    run("submit", EXAMPLES / "curve_beside.yaml", "--catalog", catalog)
    (stored,) = find_runs(Catalog(catalog), ["example/curve_beside"]).values()
    assert [c.metric for c in stored.curves] == ["train/loss", "validation/loss"]
    assert stored.curves[1].value.tolist() == [4.6844, 4.1217]
    assert stored.curves[1].tokens is not None
    assert stored.curves[1].tokens.tolist() == [32_768_000, 65_536_000]


def test_the_same_curves_as_parquet_give_the_same_run(catalog: Path, tmp_path: Path) -> None:
    import pyarrow.csv
    import pyarrow.parquet as pq

    table = pyarrow.csv.read_csv(EXAMPLES / "curve_beside.csv")
    pq.write_table(table, tmp_path / "curve.parquet")
    text = (EXAMPLES / "curve_beside.yaml").read_text()
    (tmp_path / "run.yaml").write_text(text.replace("curve_beside.csv", "curve.parquet"))
    run("submit", EXAMPLES / "curve_beside.yaml", "--catalog", catalog)
    _, result = run("submit", tmp_path / "run.yaml", "--catalog", catalog)
    assert result["unchanged"] == 1


@pytest.mark.parametrize("layout", ["json", "jsonl", "yaml", "list", "submission", "-"])
def test_one_run_is_the_same_in_every_layout(layout: str, catalog: Path, tmp_path: Path) -> None:
    run("submit", write(tmp_path / "first.jsonl", RUN), "--catalog", catalog)
    path, stdin = tmp_path / f"run.{layout}", None
    if layout == "yaml":
        path.write_text(json.dumps(RUN, indent=1))  # JSON is YAML
    elif layout == "list":
        path = tmp_path / "run.json"
        path.write_text(json.dumps([RUN], indent=1))
    elif layout == "submission":
        path = tmp_path / "run.json"
        stated = changed(RUN, provenance={"contributor": "A", "licence": "MIT"})
        write(tmp_path / "first.jsonl", stated)
        run("submit", tmp_path / "first.jsonl", "--catalog", catalog, "--replace")
        head = {"schema_version": "1.0", "contributor": "A", "licence": "MIT"}
        path.write_text(json.dumps(head | {"runs": [RUN]}))
    elif layout == "-":
        path, stdin = Path("-"), json.dumps(RUN, indent=1)
    else:
        write(path, RUN)
    code, result = run("submit", path, "--catalog", catalog, stdin=stdin)
    assert (code, result["unchanged"], result["added"]) == (0, 1, 0)


def test_a_dry_run_shows_each_changed_field_and_writes_nothing(
    catalog: Path, tmp_path: Path
) -> None:
    write(tmp_path / "run.jsonl", RUN)
    code, result = run("submit", tmp_path / "run.jsonl", "--catalog", catalog, "--dry-run")
    assert (code, result["runs"]["added"]) == (0, ["lab/a"])
    assert not catalog.exists()
    run("submit", tmp_path / "run.jsonl", "--catalog", catalog)
    before = Catalog(catalog).manifest().version
    other = changed(RUN, optimizer__weight_decay=0.1, model__n_layers=14)
    other["curves"][0]["value"][0] = 3.7
    write(tmp_path / "run.jsonl", other)
    code, result = run(
        "submit", tmp_path / "run.jsonl", "--catalog", catalog, "--dry-run", "--replace"
    )
    assert code == 0
    found = {c["pointer"]: (c["before"], c["after"]) for c in result["changes"]}
    assert found == {
        "/model/n_layers": (12, 14),
        "/optimizer/weight_decay": (None, 0.1),
        "/curves/train/loss": ("3.6 at step 500", "3.7 at step 500"),
    }
    assert Catalog(catalog).manifest().version == before


def test_changed_values_are_refused_without_replace(catalog: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "run.jsonl", RUN)
    run("submit", path, "--catalog", catalog)
    write(path, changed(RUN, optimizer__weight_decay=0.1))
    code, result = run("submit", path, "--catalog", catalog)
    assert code == 1
    assert [(p["pointer"], p["rule"]) for p in result["problems"]] == [("/run_id", "changed")]
    assert "/optimizer/weight_decay: null -> 0.1" in result["problems"][0]["found"]
    code, result = run("submit", path, "--catalog", catalog, "--replace")
    assert (code, result["updated"]) == (0, 1)
    (stored,) = find_runs(Catalog(catalog), ["lab/a"]).values()
    assert stored.weight_decay == 0.1
    assert Catalog(catalog).read("curves").num_rows == 2


@pytest.mark.parametrize(
    ("what", "other", "is_twin"),
    [
        ("all equal but the name", {}, True),
        ("another source", {"source": "other", "run_id": "other/x"}, True),
        ("more is said", {"data": {"dataset": "c4"}}, True),
        ("less is said", {"model": {}}, True),
        ("another seed on both sides", {"seed": 2}, False),
        ("another weight decay", {"optimizer__weight_decay": 0.5}, False),
        ("another curve", {"curves": [{**RUN["curves"][0], "value": [3.5, 3.14159]}]}, False),
        ("declared to be the same", {"same_as": ["lab/a"]}, False),
        ("another loss", {"outcome__final_loss": 3.14158, "curves": []}, False),
    ],
)
def test_a_run_under_another_name_is_found(
    what: str, other: dict, is_twin: bool, catalog: Path, tmp_path: Path
) -> None:
    first = changed(RUN, seed=1, optimizer__weight_decay=0.1)
    if "seed" not in what:
        del first["seed"]
    run("submit", write(tmp_path / "a.jsonl", first), "--catalog", catalog)
    document = changed(first, **{"run_id": "lab/b"} | other)
    path = write(tmp_path / "b.jsonl", document)
    code, result = run("submit", path, "--catalog", catalog)
    assert [p["rule"] for p in result["problems"]] == (["duplicate"] if is_twin else [])
    assert code == int(is_twin)


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("optimizer__learning_rate", 0.9, 1),
        ("schedule__batch_size_sequences", 32, 1),
        ("model__n_layers", 24, 1),
        ("optimizer__learning_rate", 0.001001, 0),  # rounded elsewhere
        ("optimizer__learning_rate", None, 0),
        ("outcome__final_loss", 3.2, 0),  # another metric's, or a later step's
    ],
)
def test_a_run_is_not_the_stored_one_it_contradicts(
    column: str, value: object, code: int, catalog: Path, tmp_path: Path
) -> None:
    """What is linked becomes one row of a snapshot, so a wrong name would spoil both runs."""
    assert run("submit", write(tmp_path / "a.jsonl", RUN), "--catalog", catalog)[0] == 0
    seen = changed(RUN, run_id="other/a", source="other", same_as=["lab/a"], curves=[])
    del seen["curves"]
    seen = changed(seen, **{column: value})
    exit_code, told = run("submit", write(tmp_path / "b.jsonl", seen), "--catalog", catalog)
    assert exit_code == code
    assert [p["pointer"] for p in told["problems"]] == ["/same_as/0"] * code


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"same_as": ["0", "1"]}),
        ({"same_as": ["evil/c", "0"]}, {"same_as": ["evil/c", "1"]}),
        ({}, {"same_as": ["1"], "parent_run_id": "0"}),
        ({"parent_run_id": "0"}, {"parent_run_id": "1", "same_as": ["evil/a"]}),
    ],
)
def test_a_submission_does_not_tie_two_published_runs_together(
    first: dict, second: dict, catalog: Path, tmp_path: Path
) -> None:
    """As one run, one of them is gone; as one lineage over two sides, no snapshot is taken."""
    place = ("--catalog", catalog)
    fixture = Path(__file__).parents[1] / "fixtures" / "steplaw"
    assert run("ingest", "steplaw", "--from", fixture, "--accept-changed", *place)[0] == 0
    names = [r["run_id"] for r in run("query", "select run_id from runs order by 1", *place)[1]]
    problems = []
    for letter, links in (("a", first), ("b", second)):
        document = {"schema_version": "1.0", "run_id": f"evil/{letter}", "source": "evil"}
        text = json.dumps(document | {"extra": {"evil.run": letter}} | links)
        for number in (0, 1):
            text = text.replace(f'"{number}"', f'"{names[number]}"')
        (tmp_path / f"{letter}.json").write_text(text)
        problems += run("submit", tmp_path / f"{letter}.json", *place)[1]["problems"]
    assert [(p["run_id"], p["pointer"]) for p in problems] == [("evil/b", "/same_as")]
    assert "one run, or one lineage, of" in problems[0]["found"]


def test_a_submission_does_not_take_the_place_of_a_published_run(
    catalog: Path, tmp_path: Path
) -> None:
    place = ("--catalog", catalog)
    assert run("ingest", "steplaw", "--offline", *place)[0] == 0  # a copy, as it ships
    sql = "select run_id from runs where final_loss is not null order by 1 limit 1"
    (row,) = run("query", sql, *place)[1]
    evil = {"schema_version": "1.0", "run_id": "evil/a", "source": "evil"}
    evil |= {"same_as": [row["run_id"]], "provenance": {"is_copy": False}}
    evil["outcome"] = RUN["outcome"] | {"final_loss": 0.5}
    assert run("submit", write(tmp_path / "evil.jsonl", evil), *place)[0] == 0
    _, unreviewed = run("snapshot", *place)
    assert unreviewed["waiting"] == 1
    assert run("review", "accept", "evil/a", "--reason", "believed", *place)[0] == 0
    _, taken = run("snapshot", *place)
    reader = pq.read_table(Path(taken["path"]) / "runs", columns=["run_id", "same_as"])
    same_as = {r["run_id"]: r["same_as"] for r in reader.to_pylist()}
    assert "evil/a" not in same_as
    assert "evil/a" in same_as[row["run_id"]]
    conflicts = run("conflicts", "--kind", "twins", "--each", *place)[1]
    assert {c["reason"] for c in conflicts["each"]} == {"the other row was submitted"}


def test_twins_inside_one_submission_are_found(catalog: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "run.jsonl", RUN, RUN, changed(RUN, run_id="lab/b"))
    code, result = run("submit", path, "--catalog", catalog)
    assert (code, result["added"], result["unchanged"], result["rejected"]) == (1, 1, 1, 1)
    assert "of this submission" in result["problems"][0]["found"]
    other = changed(RUN, seed=7)
    write(path, changed(RUN, run_id="lab/c", seed=1), changed(other, run_id="lab/c"))
    code, result = run("submit", path, "--catalog", catalog, "--dry-run")
    assert "again, with other values" in result["problems"][0]["found"]


def test_a_run_that_somebody_else_has_just_added_is_not_overwritten(
    catalog: Path, tmp_path: Path
) -> None:
    run("submit", write(tmp_path / "run.jsonl", RUN), "--catalog", catalog)
    other = Run.from_document(changed(RUN, optimizer__weight_decay=0.1))
    store = Catalog(catalog)
    with pytest.raises(ConflictError, match="stored by another writer"):
        store.upsert([other], source="lab", operation="submit", origin="test", replacing=())
    assert find_runs(store, ["lab/a"])["lab/a"].weight_decay is None


def test_a_ramp_that_begins_after_the_run_is_refused(tmp_path: Path) -> None:
    ramp = [{"step": 5000, "batch_size_sequences": 64}]
    document = changed(RUN, schedule__batch_ramp=ramp, schedule__train_tokens=65_536_000)
    code, result = run("validate", write(tmp_path / "run.jsonl", document))
    assert code == 1
    assert [(p["pointer"], p["rule"]) for p in result["problems"]] == [
        ("/schedule/train_tokens", "tokens")
    ]


def test_the_good_ones_of_a_mixed_submission_enter(catalog: Path, tmp_path: Path) -> None:
    wrong = changed(RUN, run_id="lab/wrong", optimizer__lr=1)
    path = write(tmp_path / "run.jsonl", RUN, wrong)
    code, result = run("submit", path, "--catalog", catalog)
    assert (code, result["added"], result["rejected"]) == (1, 1, 1)
    assert result["problems"][0]["line"] == 2
    assert Catalog(catalog).read("runs", ["run_id"])["run_id"].to_pylist() == ["lab/a"]


def test_what_is_wrong_is_told_where_nothing_can_be_kept(catalog: Path, tmp_path: Path) -> None:
    (tmp_path / f"{catalog.name}-rejects").write_text("a file, where the folder should be")
    bad = write(tmp_path / "bad.json", changed(RUN, optimizer__learning_rate="fast"))
    call = ["submit", str(bad), "--catalog", str(catalog), "--json"]
    result = CliRunner().invoke(main, call, catch_exceptions=False)
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["problems"][0]["pointer"], told["kept"]) == ("/optimizer/learning_rate", [])
    assert "could not keep a refused document" in result.stderr


def test_what_a_bucket_refuses_is_kept_in_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in a folder "s3:" of wherever the command was called."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    places = set()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        monkeypatch.chdir(folder)
        places.add(Rejects(Path("s3://bucket/runs")).folder)
    (place,) = places
    assert place.is_relative_to(tmp_path / "ncpl-data")
    assert place != Rejects(Path("s3://bucket/other")).folder


def test_rejects_are_listed_shown_mended_and_dropped(catalog: Path, tmp_path: Path) -> None:
    wrong = changed(RUN, optimizer__learning_rate="1e-3")
    _, result = run("submit", write(tmp_path / "run.jsonl", wrong), "--catalog", catalog)
    (reject_id,) = result["kept"]
    _, listed = run("rejects", "list", "--catalog", catalog)
    assert [(r["id"], r["reason"]) for r in listed["documents"]] == [
        (reject_id, "/optimizer/learning_rate type")
    ]
    _, whole = run("rejects", "show", reject_id[:5], "--document", "--catalog", catalog)
    assert whole == wrong
    code, result = run("rejects", "retry", reject_id, "--catalog", catalog)
    assert (code, result["dropped"]) == (1, [])
    write(tmp_path / "mended.jsonl", RUN)
    mended = tmp_path / "mended.jsonl"
    code, result = run("rejects", "retry", reject_id, "--with", mended, "--catalog", catalog)
    assert (code, result["added"], result["dropped"]) == (0, 1, [reject_id])
    assert list(Rejects(catalog).all()) == []


def test_a_mended_document_finds_the_curves_of_the_refused_one(
    catalog: Path, tmp_path: Path
) -> None:
    """As CONTRIBUTING.md has it: mended.json lies in the folder the command is called in."""
    runs, here = tmp_path / "runs", tmp_path / "here"
    runs.mkdir()
    here.mkdir()
    (runs / "curve.csv").write_text("metric,step,value\ntrain/loss,500,3.6\ntrain/loss,999,3.2\n")
    bad = changed(RUN, optimizer__learning_rate="fast", curves={"file": "curve.csv"})
    write(runs / "run.json", bad)
    assert run("submit", runs, "--catalog", catalog)[0] == 1
    (reject,) = Rejects(catalog).all()
    mended = write(here / "mended.json", changed(bad, optimizer__learning_rate=0.001))
    call = ("rejects", "retry", reject.id, "--with", mended, "--catalog", catalog)
    assert run(*call)[0] == 0
    (stored,) = find_runs(Catalog(catalog), ["lab/a"]).values()
    assert [c.metric for c in stored.curves] == ["train/loss"]


def test_a_reject_is_accepted_when_what_stood_against_it_is_gone(
    catalog: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "run.jsonl", RUN)
    run("submit", path, "--catalog", catalog)
    _, result = run(
        "submit", write(path, changed(RUN, optimizer__weight_decay=0.1)), "--catalog", catalog
    )
    code, result = run("rejects", "retry", "--all", "--replace", "--catalog", catalog)
    assert (code, result["updated"]) == (0, 1)
    assert list(Rejects(catalog).all()) == []


def test_an_ingest_leaves_submissions_alone(catalog: Path, tmp_path: Path) -> None:
    run("submit", write(tmp_path / "run.jsonl", RUN), "--catalog", catalog)
    code, _ = run("ingest", "steplaw", "--offline", "--catalog", catalog)
    assert code == 0
    sources = Catalog(catalog).read("runs", ["source"])["source"].value_counts().to_pylist()
    assert {row["values"]: row["counts"] for row in sources} == {"steplaw": 2_819, "lab": 1}


def test_a_submitted_copy_of_an_ingested_run_is_found(catalog: Path, tmp_path: Path) -> None:
    run("ingest", "steplaw", "--offline", "--catalog", catalog)
    store = Catalog(catalog)
    run_id = store.read("runs", ["run_id"])["run_id"][7].as_py()
    (stored,) = find_runs(store, [run_id]).values()
    copy = stored.to_document() | {"run_id": "lab/mine", "source": "lab"}
    code, result = run("submit", write(tmp_path / "run.jsonl", copy), "--catalog", catalog)
    assert code == 1
    assert run_id in result["problems"][0]["found"]


def many(n: int) -> list[dict]:
    """Return generated documents, each another run."""
    return [
        changed(
            RUN,
            run_id=f"many/{i}",
            source="many",
            seed=i,
            curves=[{"metric": "train/loss", "step": [1000], "value": [3.14159]}],
        )
        for i in range(n)
    ]


@pytest.mark.slow
def test_ten_kills_and_another_submission_leave_exactly_the_documents(tmp_path: Path) -> None:
    """SIGKILL at ten random moments of a submission of 10,000 documents."""
    path, catalog = write(tmp_path / "many.jsonl", *many(10_000)), tmp_path / "catalog"
    code = "from ncpl_data.ingest.cli import main; main()"
    command = [sys.executable, "-c", code, "submit", str(path), "--catalog", str(catalog), "-q"]
    rng = random.Random(20_261_122)
    n_killed = n_before = 0
    for _ in range(10):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            child.wait(rng.uniform(0.2, 5.0))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            n_killed += 1
        store = Catalog(catalog)
        counts = {t: store.read(t, ["run_id"]).num_rows for t in ("runs", "curves")}
        assert counts["runs"] == counts["curves"]
        assert counts["runs"] >= n_before  # whole commits: none is taken back
        n_before = counts["runs"]
    assert n_killed > 0
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    store = Catalog(catalog)
    ids = store.read("runs", ["run_id"])["run_id"].to_pylist()
    assert sorted(ids) == sorted(f"many/{i}" for i in range(10_000))
    assert store.read("curves", ["run_id"]).num_rows == 10_000
