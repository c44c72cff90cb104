"""The prefix board: its simple ways, its kill rule, and what it says of the shipped bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ncpl.bench.prefix import ALONE, METHODS, OURS, kill_rule, power_law
from ncpl.cli import main
from ncpl.errors import BundleError
from ncpl.model.bundle import DEFAULT, read_card
from ncpl.model.curve_process import design, fit_curve_process
from ncpl.model.prefix import CUTS, PREFIX, between, load_prefix
from ncpl_data.ingest.cli import main as data_main

ROW = {"schedule": "cosine", "learning_rate": 1e-3, "min_learning_rate": 0.0, "warmup_frac": 0.02}


def test_a_power_law_is_found_again() -> None:
    frac = np.linspace(0.05, 0.5, 20)
    found = power_law(frac, 2 + 0.3 * frac**-0.5, np.array([1.0]))
    assert found[0] == pytest.approx(2.3, abs=1e-3)


def test_the_kill_rule_counts_groups_whose_best_is_kept() -> None:
    loss = np.array([2.1, 2.0, 2.4, 2.5, 2.6, 2.7])
    good, bad = loss + 0.01, -loss
    finals = dict.fromkeys(METHODS, good) | {"current loss": bad}
    found = {row["method"]: row["kept"] for row in kill_rule([(loss, finals)])}
    assert found[OURS] == 1
    assert found["current loss"] == 0


def test_curves_that_share_a_shape_tell_the_end_from_the_start() -> None:
    rng = np.random.default_rng(0)
    frac = np.tile(np.linspace(0.05, 1, 20), (40, 1))
    coefficients = rng.normal(0, [0.05, 0.1], (40, 2))
    value = np.einsum("bpk,bk->bp", design([ROW] * 40, frac)[:, :, :2], coefficients)
    value += rng.normal(0, 1e-3, value.shape)
    process = fit_curve_process([ROW] * 30, frac[:30], value[:30], rounds=20)
    told = [process.tell(ROW, frac[i, :10], value[i, :10], np.ones(1)) for i in range(30, 40)]
    error = np.array([t.mean[0] for t in told]) - coefficients[30:, 0]
    assert np.abs(error).mean() < 0.1 * np.abs(coefficients[30:, 0]).mean()


@pytest.mark.parametrize(
    ("cut", "expected"), [(0.05, (0, 1, 0.0)), (0.95, (len(CUTS) - 2, len(CUTS) - 1, 1.0))]
)
def test_a_cut_beyond_the_learned_ones_takes_the_nearest(
    cut: float, expected: tuple[int, int, float]
) -> None:
    assert between(cut) == expected


def test_a_changed_file_of_prefixes_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT, folder)
    held = bytearray((folder / PREFIX).read_bytes())
    held[-1] ^= 1
    (folder / PREFIX).write_bytes(held)
    with pytest.raises(BundleError, match="not the file the card was written for"):
        load_prefix(folder, read_card(folder))


def test_a_bundle_without_prefixes_has_none(tmp_path: Path) -> None:
    assert load_prefix(tmp_path, {}) is None


@pytest.mark.slow
def test_the_shipped_bundle_is_helped_by_the_prefix(tmp_path: Path) -> None:
    catalog = ["--catalog", str(tmp_path / "catalog")]
    for words in (["ingest", "steplaw", "marin", "losscast", "--offline"], ["snapshot"]):
        assert CliRunner().invoke(data_main, [*words, *catalog]).exit_code == 0
    result = CliRunner().invoke(main, ["bench", "prefix", "--json", *catalog])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    mae = {(r["source"], r["split"], r["cut"], r["method"]): r["final_mae"] for r in rows}
    for source, split, cut, method in mae:
        if method == OURS and cut >= 0.5:
            assert mae[source, split, cut, OURS] < mae[source, split, cut, ALONE]
