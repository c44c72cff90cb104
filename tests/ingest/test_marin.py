from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.packed import read_packed
from ncpl_data.ingest.sources import marin
from ncpl_data.ingest.studies import marin as study

SHIPPED, LINES = marin.SOURCE.origins[:2]
Runner = Callable[..., Result]


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    paths = SHIPPED.bundled_paths()
    assert paths is not None
    return read_packed(paths["marin.parquet"], "marin")


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    paths = SHIPPED.bundled_paths()
    assert paths is not None
    return {run.run_id: run for run in SHIPPED.read(paths) if isinstance(run, Run)}


@pytest.fixture
def excerpt(fixtures: Path) -> dict[str, Run]:
    split = SHIPPED.files[1].bundled_path()
    assert split is not None
    folder = fixtures / "marin"
    paths = {name: folder / name for name in (marin.RUNS_FILE, marin.CURVES_FILE)}
    found = LINES.read({**paths, marin.SPLIT_FILE: split})
    return {str(run.source_run): run for run in found if isinstance(run, Run)}


def test_2042_named_runs_and_123_curves(runs: dict[str, Run]) -> None:
    by_curve_only = [run for run in runs.values() if "known_by_curve_only" in (run.flags or ())]
    assert len(runs) - len(by_curve_only) == 2042
    assert len(by_curve_only) == 4
    curves = [curve for run in runs.values() for curve in run.curves]
    assert len(curves) == 123
    assert sum(len(curve.step) for curve in curves) == 4195


def test_every_named_run_but_mudam_is_verified_by_the_digest_in_its_name(
    runs: dict[str, Run],
) -> None:
    digests = Counter(
        run.extra["marin.digest"]
        for run in runs.values()
        if run.extra and run.optimizer != "mudam" and run.source_run
    )
    assert digests == {"exact": 1744, "respelled": 170}
    mudam = Counter(
        run.extra["marin.digest"] for run in runs.values() if run.extra and run.optimizer == "mudam"
    )
    assert mudam == {"unchecked": 126, "respelled": 4}
    assert not any("digest_contradicts_config" in (run.flags or ()) for run in runs.values())


def test_status_and_loss_of_all_runs(runs: dict[str, Run]) -> None:
    assert Counter(run.status for run in runs.values()) == {
        "finished": 1853,
        "diverged": 175,
        None: 18,
    }
    assert Counter(run.final_loss is None for run in runs.values()) == {False: 2022, True: 24}


def test_diverged_runs_have_their_whole_configuration(runs: dict[str, Run]) -> None:
    diverged = [run for run in runs.values() if run.status == "diverged"]
    assert len(diverged) == 175
    assert sum(run.final_loss is None for run in diverged) == 6
    for run in diverged:
        assert run.final_loss is None or run.final_loss > 6
        for column in ("optimizer", "learning_rate", "weight_decay", "warmup_steps", "schedule"):
            assert getattr(run, column) is not None
        for column in ("train_steps", "batch_size_sequences", "params_non_embedding"):
            assert getattr(run, column) is not None


def test_tokens_are_ratio_times_20_times_parameters(runs: dict[str, Run]) -> None:
    for run in runs.values():
        assert run.params_non_embedding is not None
        assert run.nominal_train_tokens is not None
        ratio = run.nominal_train_tokens / (20 * run.params_non_embedding)
        assert ratio in (1, 2, 4, 8, 16)
        assert run.batch_size_sequences is not None
        assert run.train_steps is not None
        assert run.train_tokens == run.batch_size_sequences * 4096 * run.train_steps
        assert run.train_tokens == run.nominal_train_tokens


def test_shapes_are_those_the_study_declares(runs: dict[str, Run]) -> None:
    shapes = {
        (run.d_model, run.d_ff, run.n_heads, run.n_layers, run.params_non_embedding)
        for run in runs.values()
    }
    assert shapes == {
        (512, 2048, 8, 32, 134_217_728),
        (768, 3072, 12, 32, 301_989_888),
        (1024, 4096, 16, 32, 536_870_912),
        (1536, 6144, 24, 32, 1_207_959_552),
    }


def test_a_curve_belongs_to_the_run_of_its_configuration(runs: dict[str, Run]) -> None:
    for run in runs.values():
        for curve in run.curves:
            assert curve.value[-1] == pytest.approx(run.final_loss, abs=1e-9)
            assert run.train_steps is not None
            assert curve.step[-1] == run.train_steps - 1
            assert curve.tokens is not None
            assert run.batch_size_sequences is not None
            assert np.array_equal(curve.tokens, curve.step * run.batch_size_sequences * 4096)


def test_every_value_knows_its_origin(runs: dict[str, Run]) -> None:
    own = {"run_id", "source", "schema_version", "origins", "raw_config", "flags", "is_copy"}
    own |= {"licence", "citation", "url", "revision", "file", "file_sha256", "record"}
    for run in runs.values():
        said = {column for column, value in run.row().items() if value is not None} - own
        assert run.origins is not None
        assert said <= set(run.origins)


# Traps, each on a real line of the fixture.


def test_the_last_step_is_one_less_than_the_step_count(excerpt: dict[str, Run]) -> None:
    run = excerpt["sweep-130m-2B-mars692316lr0.016-wd0.1-minlr0-warmup2000-b10.9-b2-93e276"]
    assert run.train_steps == 5120
    assert run.metrics is not None
    assert run.metrics[0]["step"] == 5119
    (curve,) = run.curves
    assert curve.step.tolist() == [0, 1000, 2000, 3000, 4000, 5000, 5119]
    assert curve.value[-1] == run.final_loss == 3.537498712539673


def test_accuracies_come_with_the_curve(excerpt: dict[str, Run]) -> None:
    run = excerpt["sweep-130m-2B-mars692316lr0.016-wd0.1-minlr0-warmup2000-b10.9-b2-93e276"]
    by_task = {e.task: e.value for e in run.evals}
    assert by_task["copa"] == 0.65
    assert len(by_task) == 10


def test_nan_as_text_is_a_diverged_run_without_a_loss(excerpt: dict[str, Run]) -> None:
    run = excerpt["sweep-300m-6B-marsb65964lr0.008-wd0.1-minlr0-warmup1000-b10.98-b-e8240b"]
    assert (run.status, run.final_loss) == ("diverged", None)
    assert run.extra is not None
    assert run.extra["marin.logged_loss"] == "NaN"


def test_an_absurd_loss_is_no_loss(excerpt: dict[str, Run]) -> None:
    run = excerpt["sweep-300m-6B-cautiousd8e2a3lr0.008-wd0.1-minlr0-warmup2000-b10.-3812f2"]
    assert (run.status, run.final_loss) == ("diverged", None)
    assert run.extra is not None
    assert float(run.extra["marin.logged_loss"]) == 138_172_780_511_232


def test_a_loss_found_by_configuration_may_be_a_twins(excerpt: dict[str, Run]) -> None:
    run = excerpt["sweep-520m-10B-marstca8afflr0.008-wd0.2-minlr0-warmup2000-b10.95-2d28bd"]
    assert (run.status, run.final_loss, run.flags) == (None, None, ("loss_of_a_twin",))
    assert run.extra is not None
    assert run.extra["marin.twin_loss"] == 3.1032514572143555


def test_each_withheld_loss_is_that_of_a_run_the_files_name(runs: dict[str, Run]) -> None:
    withheld = [run for run in runs.values() if "loss_of_a_twin" in (run.flags or ())]
    assert len(withheld) == 18
    for run in withheld:
        assert run.extra is not None
        twin = runs[f"marin/{run.extra['marin.twin']}"]
        assert twin.final_loss == run.extra["marin.twin_loss"]
        assert run.origins is not None
        assert run.origins["final_loss"]["was"] == twin.final_loss
        for column in ("learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "momentum"):
            assert getattr(run, column) == getattr(twin, column)
        for column in ("warmup_steps", "decay_steps", "train_steps", "batch_size_sequences"):
            assert getattr(run, column) == getattr(twin, column)


def test_decay_is_a_fraction_and_the_second_rate_a_ratio(excerpt: dict[str, Run]) -> None:
    run = excerpt["sweep-130m-2B-muon02b4fclr0.016-wd0.1-minlr0-warmup0-b10.8-b20.9-9c2fe9"]
    assert (run.schedule, run.decay_steps) == ("wsd", 4096)
    assert run.learning_rate_groups is not None
    assert [dict(group) for group in run.learning_rate_groups] == [
        {"group": "main", "learning_rate": 0.016},
        {"group": "adam", "learning_rate": 0.0032},
    ]
    assert (run.momentum, run.warmup_steps, run.min_learning_rate) == (0.95, 0, 0)


def test_every_run_says_its_whole_schedule(runs: dict[str, Run]) -> None:
    """Cosine runs decay after warm-up to the end; the others say over how many steps."""
    for run in runs.values():
        assert run.warmup_steps is not None
        assert run.train_steps is not None
        assert run.min_learning_rate is not None
        if run.schedule in ("linear", "wsd"):
            share = (run.raw_config or {})["decay"]
            assert run.decay_steps == int(share * run.train_steps)
            assert (run.schedule == "linear") == (share == 1)
        else:
            assert run.decay_steps is None
            assert run.schedule == (
                "constant" if (run.raw_config or {}).get("decay") == 0 else "cosine"
            )


def test_what_a_configuration_leaves_to_the_launcher_is_settled_by_the_digest(
    runs: dict[str, Run],
) -> None:
    found = [r for r in runs.values() if "max_grad_norm" not in (r.raw_config or {})]
    swept = [r for r in found if "max_grad_norm" in study.spelling_keys(str(r.optimizer))]
    assert len(swept) == 6
    for run in swept:
        assert (run.grad_clip_norm, run.min_learning_rate) == (1, 0)
        assert run.origins is not None
        assert "digest" in run.origins["grad_clip_norm"]["rule"]


def test_a_tiny_epsilon_is_found_in_another_spelling(excerpt: dict[str, Run]) -> None:
    spelled = [
        run
        for run in excerpt.values()
        if run.adam_epsilon is not None and run.adam_epsilon < 1e-24 and run.extra
    ]
    assert {run.extra["marin.digest"] for run in spelled if run.extra} == {"exact", "respelled"}


@pytest.mark.parametrize(
    ("name", "size", "tokens", "optimizer"),
    [
        (
            "sweep-130m-10B-soapk982228lr0.016-wd0.1-minlr0-b1-c2e8d6",
            "130m",
            10_737_418_240,
            "soap",
        ),
        ("sweep-520m-10B-soape5aacdclr0.004-wd0.1-minlr0-45a39e", "520m", 10_737_418_240, "soap"),
        ("sweep-300m-12B-adamwk6cb296lr0.008-wd0.1-6b95ca", "300m", 12_079_595_520, "adamw"),
        ("sweep-130m-48B-adamw451deflr0.008-wd0.2-238a29", "130m", 48_318_382_080, "adamw"),
        ("sweep-1.2b-193B-muonforceb50cablr0.008-a245be", "1.2b", 193_273_528_320, "muon"),
        ("sweep-130m-2B-nadamw159eedlr0.016-28f35b", "130m", 2_684_354_560, "nadamw"),
        ("baseline-adam-300m-wd0.3-step11520-2f1fc4", "300m", 6_039_797_760, "adamw"),
    ],
)
def test_names_tell_size_budget_and_optimizer(
    name: str, size: str, tokens: int, optimizer: str
) -> None:
    named = study.parse_name(name)
    assert named is not None
    assert (named.size, named.nominal_tokens, named.optimizer) == (size, tokens, optimizer)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "sweep-130m",
        "sweep-7b-2B-adamw0848aelr0.008-413f11",
        "sweep-130m-3B-adamw0848aelr1-413f11",
        "sweep-130m-2B-novelty0848aelr0.008-413f11",
        "step2v2_0618_h960",
    ],
)
def test_other_names_say_nothing(name: str) -> None:
    assert study.parse_name(name) is None


def test_every_published_name_is_understood() -> None:
    path = SHIPPED.files[1].bundled_path()
    assert path is not None
    names = [name for part in json.loads(path.read_text("utf-8")).values() for name in part]
    assert len(names) == 2549
    assert all(study.parse_name(name) is not None for name in names)


def test_a_wrong_hyperparameter_contradicts_the_digest(contents: dict[str, bytes]) -> None:
    rows = [json.loads(line) for line in contents[marin.RUNS_FILE].splitlines()[:200]]
    for row in rows:
        optimizer = study.OPTIMIZERS[row["optimizer"]]
        changed = {**row["config"], "weight_decay": 0.123}
        assert study.verify_digest(row["wandb_id"], optimizer, changed, row["steps"]) == "wrong"


@given(st.floats(1e-6, 1.0), st.integers(0, 4096))
def test_spellings_of_a_value_read_back_as_it(value: float, count: int) -> None:
    """Generated values: a law of `spelled`, not data."""
    assert all(float(text) == value for text in study.spelled(value))
    assert all(float(text) == count for text in study.spelled(count))
    assert study.spelled(True) == ("True",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: len(t) // 2], "runs.jsonl line"),
        (lambda t: t.replace(b'"steps"', b'"step_count"', 1), 'has no "steps"'),
        (lambda t: b"[1, 2]\n" + t, "line 1: found b'[1, 2]', expected a JSON object"),
    ],
)
def test_a_damaged_file_is_named(
    contents: dict[str, bytes], change: Callable[[bytes], bytes], message: str
) -> None:
    split = SHIPPED.files[1].bundled_path()
    assert split is not None
    head = b"\n".join(contents[marin.RUNS_FILE].splitlines()[:5])
    with pytest.raises(RawFileError, match=message.replace("[", r"\[").replace("]", r"\]")):
        list(marin.read(change(head), contents[marin.CURVES_FILE][:0], split.read_bytes()))


def test_both_forms_of_the_files_give_the_same_runs(
    contents: dict[str, bytes], runs: dict[str, Run], tmp_path: Path
) -> None:
    split = SHIPPED.files[1].bundled_path()
    assert split is not None
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = {name: tmp_path / name for name in contents}
    other = [r for r in LINES.read({**paths, marin.SPLIT_FILE: split}) if isinstance(r, Run)]
    assert [r.content_hash() for r in other] == [r.content_hash() for r in runs.values()]


def test_ingest_reports_and_a_second_run_adds_nothing(run_command: Runner, tmp_path: Path) -> None:
    args = ("ingest", "marin", "--offline", "--catalog", tmp_path / "c")
    assert "2,046 added, 0 updated, 0 unchanged, 0 rejected" in run_command(main, *args).stdout
    assert "0 added, 0 updated, 2,046 unchanged" in run_command(main, *args).stdout


def test_no_value_is_not_a_number(runs: dict[str, Run]) -> None:
    for run in runs.values():
        for value in (run.learning_rate, run.final_loss, run.adam_epsilon):
            assert value is None or math.isfinite(value)
