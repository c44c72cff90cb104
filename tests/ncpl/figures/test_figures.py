"""Figures: written by the file's ending, and holding what was measured."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ncpl.cli import main
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import NcplError
from ncpl.figures.coverage import coverage_bins
from ncpl.figures.groups import find_groups
from ncpl.figures.style import count_text, thinned, tick_text
from ncpl.model.bundle import Bundle

GROUP = "adamw/536872960/28400000000"


@pytest.mark.parametrize(
    ("command", "ending"),
    [("predicted", "png"), ("slices", "svg"), ("contours", "png"), ("coverage", "svg")],
)
def test_figures_are_drawn(
    bundle: Bundle, folder: Path, snapshot: Snapshot, tmp_path: Path, command: str, ending: str
) -> None:
    out = tmp_path / "made" / f"a.{ending}"
    arguments = ["plot", command, "--bundle", str(folder), "--snapshot", str(snapshot.path)]
    arguments += ["--count", "2"] if command in ("slices", "contours") else []
    result = CliRunner().invoke(main, [*arguments, "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["plot"] == str(out)
    assert out.read_bytes().startswith(b"\x89PNG" if ending == "png" else b"<?xml")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["predicted", "--out", "a.gif"], 1, "expected a file that ends in .png, .svg, .pdf"),
        (["predicted"], 2, "--out"),
        (["predicted", "--out", "a.png", "--source", "pythia"], 1, "knows no source 'pythia'"),
        (["slices", "--out", "a.png", "--group", "a/1/2"], 1, "has no group of 5 runs named a/1/2"),
        (["curves", "--out", "a.png"], 1, "no loss curves of held-out runs"),
        (["contours", "--out", "a.png", "--count", "0"], 2, "--count"),
    ],
)
def test_a_wrong_figure_is_one_sentence(
    bundle: Bundle,
    folder: Path,
    snapshot: Snapshot,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    given = ["--bundle", str(folder), "--snapshot", str(snapshot.path)]
    result = CliRunner().invoke(main, ["plot", *arguments, *given])
    assert result.exit_code == code
    assert message in result.stderr


def test_a_group_holds_all_its_measured_runs(bundle: Bundle, runs: Runs) -> None:
    (group,) = find_groups(bundle, runs, count=4, names=[GROUP])
    assert (group.split, len(group.loss), group.others) == ("ood", 105, 0)
    own = [i for i, name in enumerate(runs.group) if name == GROUP]
    assert sorted(group.loss.tolist()) == sorted(runs.loss[own].tolist())
    direct = bundle.intervals(bundle.fits[0], [runs.configs[i] for i in own]).loss
    again = group.predict(bundle, group.rate, group.batch).loss
    np.testing.assert_allclose(sorted(again), sorted(direct), atol=2e-3)


def test_the_groups_with_the_most_points_are_shown(bundle: Bundle, runs: Runs) -> None:
    groups = find_groups(bundle, runs, count=4)
    assert [g.split for g in groups] == ["id", "id", "ood", "ood"]
    assert all(len(g.loss) > 90 for g in groups)
    nothing = dataclasses.replace(bundle, fits=[])
    with pytest.raises(NcplError, match="has no group of 5 runs"):
        find_groups(nothing, runs, count=4)


def test_coverage_counts_every_held_out_run_once(bundle: Bundle, runs: Runs) -> None:
    rows = coverage_bins(bundle, runs)
    for split, n in (("id", 370), ("ood", 694)):
        own = [row for row in rows if row["split"] == split]
        assert sum(row["n"] for row in own) == n
        share = sum(row["coverage"] * row["n"] for row in own) / n
        scores = {(r["split"], r["predictor"]): r.get("coverage") for r in bundle.about["scores"]}
        assert share == pytest.approx(scores[split, "NCPL, ensemble"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(268304384, "268M"), (14.2e9, "14.2B"), (1.07e9, "1.07B"), (2e12, "2T"), (999.9e6, "1B")],
)
def test_counts_are_short(value: float, text: str) -> None:
    assert count_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1024, "1024"), (0.0156, "0.016"), (3.453e-4, "3.5e-4"), (2e-3, "2e-3")]
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_ticks_keep_their_distance() -> None:
    assert thinned([1, 1.4, 2, 2.8, 4], 1.9) == [1, 2, 4]


@pytest.mark.slow
def test_curves_are_drawn_from_a_snapshot_that_has_them(tmp_path: Path) -> None:
    from ncpl_data.ingest.cli import main as data_main

    catalog = ["--catalog", str(tmp_path / "catalog")]
    for command in (["ingest", "steplaw", "losscast", "--offline"], ["snapshot"]):
        result = CliRunner().invoke(data_main, [*command, *catalog])
        assert result.exit_code == 0, result.output
    out = tmp_path / "curves.svg"
    arguments = ["plot", "curves", "--source", "steplaw", "--out", str(out), *catalog]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert out.read_bytes().startswith(b"<?xml")
    assert out.stat().st_size > 20_000
