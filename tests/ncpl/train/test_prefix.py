"""Learning what starts of runs say: the command's whole path, and what it keeps of an attempt."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from ncpl.cli import main, train_main
from ncpl.data.snapshot import Snapshot
from ncpl.model.bundle import Bundle, load, read_card
from ncpl.model.config import FitConfig
from ncpl.model.prefix import CUTS, PREFIX, load_prefix
from ncpl.train import curves, out_of_fold
from ncpl.train.pipeline import train_bundle

FIXTURE = Path(__file__).parents[2] / "fixtures" / "laws" / "snapshot_curves"


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Bundle]:
    """Return a tiny bundle's folder with starts of runs added, and where folds were kept."""
    folder, keep = (tmp_path_factory.mktemp(name) for name in ("bundle", "kept"))
    found = Snapshot.open(FIXTURE)
    least = pytest.MonkeyPatch()
    least.setattr(curves, "MIN_CURVES", 40)  # the fixture has 80
    config = dataclasses.replace(FitConfig.preset("tiny"), steps=20, curve_steps=30)
    bundle = train_bundle(found, found.runs(), config, seed=0, folder=folder)
    result = add(folder, keep)
    least.undo()
    assert result.exit_code == 0, result.output
    return folder, keep, bundle


def add(folder: Path, keep: Path) -> Result:
    return CliRunner().invoke(
        train_main,
        ["--prefix-for", str(folder), "--snapshot", str(FIXTURE), "--out", str(keep), "--json"],
    )


@pytest.mark.slow
def test_the_command_adds_what_starts_of_runs_say(learned: tuple[Path, Path, Bundle]) -> None:
    folder, _, bundle = learned
    model = load_prefix(folder, read_card(folder))
    assert model is not None
    assert list(model.families) == [fit.family[0] for fit in bundle.fits]
    said = model.about["left_out"]["steplaw"]["by_cut"]
    assert [row["cut"] for row in said] == list(CUTS)
    assert load(folder).snapshot_id == Snapshot.open(FIXTURE).id  # its seal holds


@pytest.mark.slow
def test_the_bundle_then_forecasts_a_run_in_progress(learned: tuple[Path, Path, Bundle]) -> None:
    folder, keep, bundle = learned
    runs = Snapshot.open(FIXTURE).runs()
    at = int(np.flatnonzero([family == bundle.fits[0].family for family in runs.family])[0])
    steps = runs.configs[at]["train_steps"]
    rows = "".join(f"{round(steps * f)},{3.4 - f}\n" for f in (0.1, 0.2, 0.3, 0.4))
    (keep / "run.csv").write_text("step,loss\n" + rows)
    (keep / "run.json").write_text(json.dumps(runs.configs[at]))
    words = ["plan", "extrapolate", str(keep / "run.csv"), "--config", str(keep / "run.json")]
    result = CliRunner().invoke(
        main, [*words, "--source", "steplaw", "--bundle", str(folder), "--json"]
    )
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)["forecasts"]
    assert found["final"]["low"] < found["final"]["loss"] < found["final"]["high"]


@pytest.mark.slow
def test_folds_of_an_earlier_attempt_are_not_fitted_again(
    learned: tuple[Path, Path, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, keep, _ = learned
    before = (folder / PREFIX).read_bytes()
    monkeypatch.setattr(out_of_fold, "fit_family", None)  # calling it fails
    assert add(folder, keep).exit_code == 0
    assert (folder / PREFIX).read_bytes() == before


@pytest.mark.slow
def test_too_few_curves_are_told(learned: tuple[Path, Path, Bundle], tmp_path: Path) -> None:
    result = add(learned[0], tmp_path)
    assert result.exit_code == 1
    assert "too few training runs have curves (60 are needed)" in result.output


@pytest.mark.parametrize("content", [b"", b"PK not an archive"])
def test_a_kept_fold_that_is_damaged_is_fitted_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fold.npz").write_bytes(content)
    assert out_of_fold.kept_fold(tmp_path / "fold.npz", "key") is None


def test_a_kept_fold_of_other_settings_is_fitted_again(tmp_path: Path) -> None:
    one = np.ones(1)
    np.savez(tmp_path / "fold.npz", final=one, half=one, curve=one, key=np.array("theirs"))
    assert out_of_fold.kept_fold(tmp_path / "fold.npz", "ours") is None
    assert out_of_fold.kept_fold(tmp_path / "fold.npz", "theirs") is not None
