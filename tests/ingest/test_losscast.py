from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from ncpl_data.catalog.canonical import canonical_json
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.sources import losscast, marin, steplaw
from ncpl_data.ingest.studies import losscast as bench
from ncpl_data.ingest.studies import marin as study
from ncpl_data.ingest.studies.marin_hidden import hidden_keys, recover
from ncpl_data.ingest.studies.recover_marin import read_table, recoverable

Runner = Callable[..., Result]
SHIPPED, LINES = losscast.SOURCE.origins[:2]
HIDDEN = losscast.HIDDEN.bundled_path()


def read_bundled(origin: object) -> dict[str, Run]:
    paths = origin.bundled_paths()  # type: ignore[attr-defined]
    return {run.run_id: run for run in origin.read(paths) if isinstance(run, Run)}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def every_run() -> dict[str, Run]:
    return read_bundled(SHIPPED)


@pytest.fixture(scope="module")
def runs(every_run: dict[str, Run]) -> dict[str, Run]:
    """The runs of the first file; the second holds Marin runs of the largest models."""
    ood = bench.SHIPPED_OOD.name
    return {run_id: run for run_id, run in every_run.items() if run.file != ood}


@pytest.fixture(scope="module")
def owners() -> dict[str, Run]:
    """The runs of the sources that own what losscast copies."""
    return read_bundled(marin.SOURCE.origins[0]) | read_bundled(steplaw.SOURCE.origins[1])


@pytest.fixture
def excerpt(fixtures: Path) -> dict[str, Run]:
    assert HIDDEN is not None
    content = (fixtures / "losscast" / "runs.jsonl").read_bytes()
    found = losscast.read(bench.read_records(content), read_table(HIDDEN))
    return {str(run.source_run): run for run in found if isinstance(run, Run)}


def study_of(run: Run) -> str:
    return run.same_as[0].split("/")[0] if run.same_as else "nanochat"


def test_248_marin_runs_complete_the_held_out_part(every_run: dict[str, Run]) -> None:
    """Two sizes, 89 without a loss elsewhere; a muon run of 1.2B stops at half of its steps."""
    ood = [run for run in every_run.values() if run.file == bench.SHIPPED_OOD.name]
    assert Counter(run.params_non_embedding for run in ood).keys() == {536_870_912, 1_207_959_552}
    assert len(ood) == 248
    assert Counter(run.status for run in ood) == {"finished": 246, "truncated": 2}


def test_5168_runs_and_368187_points(runs: dict[str, Run]) -> None:
    assert Counter(map(study_of, runs.values())) == {
        "marin": 2301,
        "steplaw": 2277,
        "nanochat": 590,
    }
    assert sum(len(curve.step) for run in runs.values() for curve in run.curves) == 368_187


def test_a_copied_run_links_the_owners_run(runs: dict[str, Run], owners: dict[str, Run]) -> None:
    linked = Counter(
        study_of(run) for run in runs.values() if run.same_as and run.same_as[0] in owners
    )
    assert linked == {"marin": 1361, "steplaw": 2277}
    assert all(run.is_copy == (study_of(run) != "nanochat") for run in runs.values())


def test_shared_marin_runs_end_alike_except_ten_that_stop_early(
    runs: dict[str, Run], owners: dict[str, Run]
) -> None:
    apart = []
    for run in runs.values():
        owner = owners.get(run.same_as[0]) if run.same_as else None
        if study_of(run) != "marin" or owner is None or owner.final_loss is None:
            continue
        if abs(owner.final_loss - run.final_loss) > 1e-6:  # type: ignore[operator]
            apart.append(run)
    assert len(apart) == 10
    for run in apart:
        assert run.train_steps is not None
        assert run.curves[0].step[-1] < run.train_steps - 1
    assert Counter(run.status for run in apart) == {"truncated": 8, "finished": 2}


def test_logs_of_17_of_the_18_runs_without_a_loss_end_elsewhere_than_their_twins(
    runs: dict[str, Run], owners: dict[str, Run]
) -> None:
    """So the loss the study's files give for their configuration is the twin's, not theirs."""
    by_name = {run.source_run: run for run in runs.values()}
    ends = {}
    for owner in owners.values():
        if "loss_of_a_twin" not in (owner.flags or ()) or owner.source_run not in by_name:
            continue
        assert owner.extra is not None
        own, twin = by_name[owner.source_run], by_name[owner.extra["marin.twin"]]
        assert twin.final_loss == pytest.approx(owner.extra["marin.twin_loss"], abs=1e-6)
        assert own.final_loss is not None
        assert own.final_loss - owner.extra["marin.twin_loss"] > 1e-5
        ends[owner.source_run] = own.status, int(own.curves[0].step[-1]) + 1 == own.train_steps
    assert len(ends) == 17
    # One log is whole: its own final loss is known. Of the others, three stop well before the end.
    assert [name[:38] for name, (_, is_whole) in ends.items() if is_whole] == [
        "sweep-520m-10B-soapebf16w32upd0a3bcelr"
    ]
    assert sum(status == "truncated" for status, _ in ends.values()) == 3


COMPARED = [
    "optimizer",
    "d_ff",
    "d_model",
    "n_layers",
    "n_heads",
    "vocab_size",
    "tokenizer",
    "dataset",
    "sequence_length",
    "params_non_embedding",
    "learning_rate",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "momentum",
    "grad_clip_norm",
    "schedule",
    "warmup_steps",
    "decay_steps",
    "min_learning_rate",
    "train_steps",
    "batch_size_sequences",
    "train_tokens",
    "nominal_train_tokens",
]


def test_no_repaired_or_recovered_value_contradicts_the_owner(
    runs: dict[str, Run], owners: dict[str, Run]
) -> None:
    compared = 0
    for run in runs.values():
        owner = owners.get(run.same_as[0]) if run.same_as else None
        if owner is None:
            continue
        for column in COMPARED:
            ours, theirs = getattr(run, column), getattr(owner, column)
            if ours is None or theirs is None:
                continue
            compared += 1
            if isinstance(ours, float):
                assert ours == pytest.approx(theirs, rel=1e-9, abs=0), (run.run_id, column)
            else:
                assert ours == theirs, (run.run_id, column)
        ours, theirs = run.optimizer_extra or {}, owner.optimizer_extra or {}
        for key in ours.keys() & theirs.keys():
            assert float(ours[key]) == pytest.approx(float(theirs[key])), (run.run_id, key)
    assert compared > 60_000


def test_hidden_hyperparameters_are_recovered_for_98_percent() -> None:
    assert HIDDEN is not None
    table = read_table(HIDDEN)
    assert len(table) == 1686
    assert Counter(len(fits) for fits in table.values()) == {1: 1658, 0: 28}


def test_the_shipped_table_is_what_the_search_finds() -> None:
    """A sample of every optimizer; the whole table takes a minute."""
    assert HIDDEN is not None
    shipped = losscast.SOURCE.origins[0].files[0].bundled_path()
    assert shipped is not None
    table = read_table(HIDDEN)
    records = [r for r in bench.read_shipped(shipped) if r.study == "marin"]
    sample = [r for i, r in enumerate(records) if i % 97 == 0]
    found = dict(recoverable(iter(sample)))
    assert len(found) >= 12
    assert len({study.parse_name(name).optimizer for name in found}) >= 4  # type: ignore[union-attr]
    assert {name: table[name] for name in found} == found


def test_a_run_without_a_digest_or_a_fit_has_no_recovered_values(runs: dict[str, Run]) -> None:
    flags = Counter(flag for run in runs.values() for flag in run.flags or ())
    assert flags == {"hidden_unknown": 28, "digest_missing": 12}
    for run in runs.values():
        if "hidden_unknown" in (run.flags or ()):
            assert run.momentum is None
            assert run.decay_steps is None


def test_two_fits_are_ambiguous_and_none_is_taken(fixtures: Path) -> None:
    content = (fixtures / "losscast" / "runs.jsonl").read_bytes()
    record = next(r for r in bench.read_records(content) if "muon" in r.native)
    named = study.parse_name(record.native)
    assert named is not None
    listed = bench.marin_config("muon", record.config)
    steps = study.steps_of(named.nominal_tokens, listed["train_batch_size"])
    (fit,) = recover(record.native, "muon", listed, steps)
    other = {**fit, "momentum": 0.123}
    (run,) = losscast.read(iter([record]), {record.native: [fit, other]})
    assert isinstance(run, Run)
    assert run.flags == ("hidden_ambiguous",)
    assert run.momentum is None


def test_a_wrong_table_puts_no_value_into_a_run(fixtures: Path) -> None:
    content = (fixtures / "losscast" / "runs.jsonl").read_bytes()
    record = next(r for r in bench.read_records(content) if "muon" in r.native)
    wrong = {"muon_epsilon": 1e-5, "momentum": 0.1, "muon_to_adam_lr": 0.3, "decay": 0.8}
    (run,) = losscast.read(iter([record]), {record.native: [wrong]})
    assert isinstance(run, Run)
    assert run.flags == ("hidden_unknown",)
    assert run.momentum is None


def deviation(runs: list[Run], key: Callable[[Run], Hashable]) -> float:
    """Return the mean distance to the mean loss among runs of equal key."""
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for run in runs:
        assert run.final_loss is not None
        groups[key(run)].append(run.final_loss)
    apart = [abs(x - np.mean(g)) for g in groups.values() if len(g) > 1 for x in g]
    return float(np.mean(apart))


def test_recovered_fields_explain_why_equal_rows_differ(runs: dict[str, Run]) -> None:
    whole = [r for r in runs.values() if study_of(r) == "marin" and r.status == "finished"]

    def listed(run: Run) -> str:
        config = {**(run.raw_config or {}), "run_id": None}
        config["schedule"] = {**config["schedule"], "total_steps": None}
        config["data"] = {**config["data"], "tokens_total": run.nominal_train_tokens}
        return canonical_json(config)

    def full(run: Run) -> Hashable:
        extra = canonical_json(run.optimizer_extra or {})
        return listed(run), extra, run.momentum, run.decay_steps, run.schedule

    assert deviation(whole, listed) == pytest.approx(0.0077, abs=0.0001)
    assert deviation(whole, full) == pytest.approx(0.0021, abs=0.0001)


def test_tokens_of_every_run_are_batch_times_sequence_times_steps(runs: dict[str, Run]) -> None:
    lengths = {"marin": 4096, "steplaw": 2048, "nanochat": 2048}
    for run in runs.values():
        length = lengths[study_of(run)]
        assert run.sequence_length == length
        assert run.batch_size_sequences is not None
        assert run.train_steps is not None
        assert run.train_tokens == run.batch_size_sequences * length * run.train_steps
        if study_of(run) == "marin":
            assert run.params_non_embedding is not None
            assert run.nominal_train_tokens is not None
            assert run.nominal_train_tokens % (20 * run.params_non_embedding) == 0


def test_every_value_knows_its_origin(runs: dict[str, Run]) -> None:
    own = {"run_id", "source", "schema_version", "origins", "raw_config", "flags", "is_copy"}
    own |= {"licence", "citation", "url", "revision", "file", "file_sha256", "record", "same_as"}
    for run in runs.values():
        said = {column for column, value in run.row().items() if value is not None} - own
        assert run.origins is not None
        assert said <= set(run.origins), said - set(run.origins)


# Traps, each on a real line of the fixture.


def test_step_law_guesses_are_removed_and_kept_as_evidence(excerpt: dict[str, Run]) -> None:
    run = next(run for name, run in excerpt.items() if name.startswith("step2v2"))
    assert run.origins is not None
    for column, was in {
        "tokenizer": "gpt2",
        "dataset": "openwebtext",
        "activation": "gelu",
        "norm": "layernorm",
        "position_encoding": "rope: False",
        "vocab_size": 50257,
    }.items():
        assert getattr(run, column) is None
        assert run.origins[column]["kind"] == "repaired"
        assert run.origins[column]["was"] == was
        assert run.origins[column]["evidence"]


def test_step_law_tokens_double_and_the_old_ones_stay_visible(excerpt: dict[str, Run]) -> None:
    run = next(run for name, run in excerpt.items() if name.startswith("step2v2"))
    assert run.origins is not None
    assert run.sequence_length == 2048
    assert run.origins["sequence_length"]["was"] == 1024
    assert run.train_tokens == pytest.approx(2 * run.origins["train_tokens"]["was"], rel=1e-3)


def test_marin_shape_and_data_are_the_owners(excerpt: dict[str, Run]) -> None:
    run = next(run for run in excerpt.values() if run.optimizer == "muon")
    assert (run.d_ff, run.vocab_size, run.sequence_length) == (2048, 128_256, 4096)
    assert run.origins is not None
    was = {c: run.origins[c]["was"] for c in ("d_ff", "vocab_size", "sequence_length", "dataset")}
    assert was == {"d_ff": 1365, "vocab_size": 32000, "sequence_length": 2048, "dataset": "dolma"}


def test_recovered_values_say_how_they_are_known(excerpt: dict[str, Run]) -> None:
    run = next(run for run in excerpt.values() if run.optimizer == "muon")
    assert run.momentum is not None
    assert run.origins is not None
    for column in ("momentum", "optimizer_extra", "learning_rate_groups"):
        assert run.origins[column]["kind"] == "derived"
        assert "digest" in run.origins[column]["rule"]


def test_sequence_length_of_soap_was_its_block_size(excerpt: dict[str, Run]) -> None:
    run = next(run for run in excerpt.values() if run.optimizer == "soap")
    assert run.origins is not None
    assert run.optimizer_extra is not None
    assert run.origins["sequence_length"]["was"] == run.optimizer_extra["block_size"] == 256
    assert (run.batch_size_sequences, run.sequence_length) == (128, 4096)


def test_an_optimizer_without_epsilon_has_none(excerpt: dict[str, Run]) -> None:
    run = next(run for run in excerpt.values() if run.optimizer == "lion")
    assert run.adam_epsilon is None
    assert run.origins is not None
    assert run.origins["adam_epsilon"]["was"] == 1e-8


def test_a_curve_that_stops_early_is_a_truncated_run(excerpt: dict[str, Run]) -> None:
    run = next(run for run in excerpt.values() if run.optimizer == "adam_mini")
    assert (run.status, run.final_step, run.train_steps) == ("truncated", 4001, 40960)
    assert run.origins is not None
    assert run.origins["status"]["evidence"] == "last evaluation at step 4000 of 40960 (9.8%)"


def test_what_the_evaluation_at_the_end_would_have_said(
    runs: dict[str, Run], owners: dict[str, Run]
) -> None:
    """By the runs whose final loss the owner, or a twin of equal configuration, has."""
    lower: dict[tuple[bool, float], list[float]] = defaultdict(list)
    by_name = {run.source_run: run for run in runs.values()}
    for owner in owners.values():
        copy = by_name.get(owner.source_run)
        if copy is None or copy.status != "finished" or study_of(copy) != "marin":
            continue
        assert copy.train_steps is not None
        assert copy.final_step is not None
        assert copy.final_loss is not None
        final = (owner.extra or {}).get("marin.twin_loss", owner.final_loss)
        share = round(copy.final_step / copy.train_steps, 3)
        if final is not None and share < 0.99 and abs(final - copy.final_loss) > 1e-6:
            lower[copy.schedule == "cosine", share].append(copy.final_loss - final)
    found = {key: (len(v), round(min(v), 4), round(max(v), 4)) for key, v in lower.items()}
    assert found == {
        (True, 0.977): (5, 0.0, 0.0007),
        (True, 0.955): (1, 0.0004, 0.0004),
        (False, 0.977): (7, 0.0012, 0.0114),
        (False, 0.955): (2, 0.0268, 0.0401),
    }
    ends = [r for r in runs.values() if r.status == "finished" and study_of(r) == "marin"]
    assert sum(r.final_step < r.train_steps for r in ends) == 153  # type: ignore[operator]


def test_no_log_stops_near_the_bound_of_a_truncated_one(runs: dict[str, Run]) -> None:
    reached = defaultdict(list)
    for run in (run for run in runs.values() if study_of(run) == "marin"):
        assert run.train_steps is not None
        reached[run.status].append((int(run.curves[0].step[-1]) + 1) / run.train_steps)
    assert {status: len(found) for status, found in reached.items()} == {
        "finished": 2265,
        "truncated": 36,
    }
    assert max(reached["truncated"]) < 0.928
    assert min(reached["finished"]) > 0.954


def test_a_run_that_lacks_only_the_last_evaluation_is_finished(excerpt: dict[str, Run]) -> None:
    run = next(run for name, run in excerpt.items() if "adamw871b8e" in name)
    assert (run.status, run.final_step, run.train_steps) == ("finished", 5001, 5120)
    assert run.curves[0].step[-1] == 5000


def test_nanochat_keeps_its_rates_and_both_metrics(excerpt: dict[str, Run]) -> None:
    run = next(run for run in excerpt.values() if run.model_family == "nanochat")
    assert run.same_as is None
    assert run.learning_rate_groups is not None
    assert {g["group"] for g in run.learning_rate_groups} == {
        "matrix",
        "embedding",
        "unembedding",
        "scalar",
    }
    assert run.metrics is not None
    assert [(m["name"], m["unit"]) for m in run.metrics] == [
        ("train/loss_ema", "nats_per_token"),
        ("val/bpb", "bits_per_byte"),
    ]
    assert run.final_loss_metric == "train/loss_ema"


def test_optimizers_without_hidden_fields_have_none_to_find() -> None:
    assert hidden_keys("adamw") == hidden_keys("lion") == ()
    assert recover("sweep-130m-2B-adamw0848aelr0.008-413f11", "adamw", {}, 5120) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "line 1: JSONDecodeError"),
        (b'{"run_id": "ncpl_marin_x"}', "line 1: KeyError: 'losses'"),
        (b'{"run_id": "other_1", "split": "train", "config": {}, "losses": {}}', "no known study"),
        (
            b'{"run_id": "ncpl_marin_x", "split": "train", "config": {}, "losses": {"0": "high"}}',
            "line 1: ValueError",
        ),
    ],
)
def test_a_damaged_line_is_named(line: bytes, message: str) -> None:
    with pytest.raises(RawFileError, match=message):
        list(bench.read_records(line))


def test_a_name_of_no_study_is_refused() -> None:
    row = {"run_id": "ncpl_steplaw_x", "split": "train", "config": {}, "losses": {"1": 3.0}}
    records = bench.read_records(json.dumps(row).encode())
    with pytest.raises(RawFileError, match="is no run name of the study"):
        list(losscast.read(records, {}))


def test_the_gathered_file_gives_the_same_runs(fixtures: Path, tmp_path: Path) -> None:
    assert HIDDEN is not None
    content = (fixtures / "losscast" / "runs.jsonl").read_bytes()
    path = tmp_path / "runs.jsonl.gz"
    path.write_bytes(gzip.compress(content))
    ours = list(LINES.read({path.name: path, losscast.HIDDEN.name: HIDDEN}))
    direct = losscast.read(bench.read_records(content), read_table(HIDDEN))
    assert [r.content_hash() for r in ours if isinstance(r, Run)] == [
        r.content_hash() for r in direct if isinstance(r, Run)
    ]
    path.write_bytes(b"no gzip")
    with pytest.raises(RawFileError, match="not a whole gzip file"):
        list(LINES.read({path.name: path, losscast.HIDDEN.name: HIDDEN}))


def test_coverage_of_the_published_marin_split(run_command: Runner, tmp_path: Path) -> None:
    folder = ("--catalog", tmp_path / "c")
    for name in ("marin", "steplaw", "losscast"):
        result = run_command(main, "ingest", name, "--offline", *folder)
        assert result.exit_code == 0
    assert "5,416 added, 0 updated, 0 unchanged, 0 rejected" in result.stdout
    again = run_command(main, "ingest", "losscast", "--offline", *folder)
    assert "0 added, 0 updated, 5,416 unchanged, 0 rejected" in again.stdout
    sql = (
        "select split, count(*) n, count(final_loss) losses from splits join runs using (run_id) "
        "where final_loss_metric like 'eval/%' group by 1 order by 1"
    )
    found = json.loads(run_command(main, "query", sql, "--format", "json", *folder).stdout)
    assert [(r["split"], r["n"], r["losses"]) for r in found] == [
        ("id", 426, 426),
        ("ood", 415, 415),
        ("train", 1708, 1708),
    ]
