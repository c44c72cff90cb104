"""ColPret's trajectories, against rows read in the original tables by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.curate import curate
from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources.colpret import SOURCE, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "colpret"


def fixture_contents() -> dict[str, bytes]:
    return {
        path.relative_to(FIXTURE).as_posix(): path.read_bytes() for path in FIXTURE.rglob("*.csv")
    }


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {
        item.run_id.removeprefix("colpret/"): item
        for item in read(fixture_contents())
        if isinstance(item, Run)
    }


def test_repeated_data_runs_count_tokens_not_steps(runs: dict[str, Run]) -> None:
    """Line 2 of the table: 44 epochs of c4, 104,857,600 tokens, loss 6.9756693840026855."""
    run = runs["datablations_2.8B_c4_44epochs"]
    (curve,) = run.curves
    assert curve.tokens is not None
    assert (int(curve.tokens[0]), float(curve.value[0])) == (104_857_600, 6.9756693840026855)
    assert run.flags == ("step_counts_tokens",)
    assert (run.dataset, run.epochs, run.unique_tokens) == ("c4", 44.0, 1_250_000_000)
    assert run.final_loss == 3.4258296489715576
    assert run.final_loss_metric == "train/loss"


def test_one_log_under_two_settings_is_flagged(runs: dict[str, Run]) -> None:
    first, second = (runs[f"datablations_2.8B_oscar_{n}epochs"] for n in (3, 4))
    assert first.final_loss == second.final_loss == 3.0521817207336426
    assert second.same_as == (first.run_id,)
    assert "same_losses_under_two_settings" in (second.flags or ())


def test_olmo_runs_share_no_validation_set(runs: dict[str, Run]) -> None:
    """The name "OLMo-1B " ends in a space; perplexity columns are no losses."""
    metrics = {name: runs[name].final_loss_metric for name in runs if name.startswith("OLMo")}
    assert metrics == {
        "OLMo-1B": "validation/v3-small-c4_en",
        "OLMo-7B": "validation/c4_en",
        "OLMo-7B-Twin-2T": "validation/mc4_en",
    }
    pile = {m["name"]: m["value"] for m in runs["OLMo-7B"].metrics or ()}["validation/pile"]
    assert pile == 1.9076638221740725
    assert all(m["unit"] == "nats_per_token" for m in runs["OLMo-7B"].metrics or ())


def test_restart_of_k2_and_its_invented_tokens_are_left_out(runs: dict[str, Run]) -> None:
    (curve,) = runs["K2-65B"].curves
    assert curve.tokens is None
    assert int(curve.step[-1]) == 495_195_720
    assert runs["K2-65B"].train_tokens is None


def test_mamba_keeps_its_rates(runs: dict[str, Run]) -> None:
    curves = {c.metric: c for c in runs["Mamba-3B"].curves}
    assert int(curves["train/loss"].step[0]) == 4
    assert float(curves["train/loss"].value[0]) == 21.78346443176269
    assert float(curves["train/learning_rate"].value[0]) == 3.750000000000001e-08


def test_opt_is_perplexity_and_its_tokens_are_powers_of_ten(runs: dict[str, Run]) -> None:
    run = runs["OPT-125m"]
    assert (run.final_loss_metric, run.final_loss_unit) == ("validation/perplexity", "perplexity")
    (curve,) = run.curves
    assert curve.tokens is not None
    assert (int(curve.tokens[0]), float(curve.value[0])) == (10**9, 67.52265444265277)


def test_no_family_mixes_publishers(runs: dict[str, Run]) -> None:
    families: dict[tuple[object, ...], set[str | None]] = {}
    for run in runs.values():
        families.setdefault((run.final_loss_metric, run.dataset), set()).add(run.file)
    assert all(len(files) == 1 for files in families.values())


def test_only_apache_runs_are_shipped() -> None:
    origin = next(o for o in SOURCE.origins if o.name == "shipped")
    paths = origin.bundled_paths()
    assert paths is not None
    found = [item for item in origin.read(paths) if isinstance(item, Run)]
    assert len(found) == 52
    assert {run.licence for run in found} == {"Apache-2.0"}
    curves = [c for run in found for c in run.curves if run.run_id.startswith("colpret/data")]
    assert len(curves) == 48
    assert sum(len(c.step) for c in curves) == 9_261


def test_the_runs_of_44_epochs_overfit_and_no_others() -> None:
    """Their train loss rises and stays up; that is no spike."""
    origin = next(o for o in SOURCE.origins if o.name == "shipped")
    runs = [run for run in origin.read(origin.bundled_paths() or {}) if isinstance(run, Run)]
    flagged = {run.run_id for run in runs if "loss_rises" in (curate(run).flags or ())}
    assert len(flagged) == 6
    assert flagged == {run.run_id for run in runs if run.epochs == 44}


def test_a_missing_column_is_named() -> None:
    contents = fixture_contents()
    name = "aggregated_eval/opt_trajectories.csv"
    with pytest.raises(RawFileError, match=r"opt_trajectories\.csv: no column ppl"):
        list(read({name: contents[name].replace(b"ppl", b"loss")}))
