"""Gemstones, against rows of the shape 768x3 read in the original files by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources.gemstones import SOURCE, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "gemstones"


def fixture_contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in FIXTURE.iterdir()}


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    items = list(read(fixture_contents()))
    return {i.run_id.removeprefix("gemstones/"): i for i in items if isinstance(i, Run)}


@pytest.mark.parametrize(
    ("run", "field", "value"),
    [
        ("768x3", "d_model", 768),
        ("768x3", "n_layers", 3),
        ("768x3", "params_active", 103_814_400),
        ("768x3", "train_tokens", 350_119_526_400),
        ("768x3", "final_step", 83_475),
        ("768x3", "final_loss", 3.3388717175),
        ("768x3", "schedule", "constant"),
        ("768x3", "learning_rate", None),
        ("768x3_cooler", "final_loss", 3.3440203667),
        ("768x3_cooled_2385", "final_loss", 3.4431524277),
        ("768x3_cooled_2385", "parent_run_id", "gemstones/768x3"),
        ("768x3_cooled_2385", "branch_step", 2_385),
        ("768x3_cooled_2385", "decay_steps", 237),
        ("768x3_cooled_23840", "final_loss", 3.2620940208),
    ],
)
def test_values_are_those_of_the_file(
    runs: dict[str, Run], run: str, field: str, value: object
) -> None:
    assert getattr(runs[run], field) == value


def test_final_loss_of_a_row_is_a_point_of_a_curve(runs: dict[str, Run]) -> None:
    curve = runs["768x3"].curves[0]
    assert (int(curve.step[0]), float(curve.value[0])) == (477, 4.1658096313)
    assert curve.tokens is not None
    assert int(curve.tokens[0]) == 2_000_683_008 == 477 * 4_194_304


def test_losses_on_fineweb_are_curves_of_the_same_run(runs: dict[str, Run]) -> None:
    """The file lists step 83,475 before step 2,385; a curve is in order."""
    curves = {c.metric: c for c in runs["768x3"].curves}
    edu = curves["validation/fineweb_edu"]
    assert edu.step.tolist() == [2_385, 4_770, 83_475]
    assert float(edu.value[-1]) == 3.362790967
    assert float(curves["validation/fineweb_dclm"].value[-1]) == 3.4733363719


def test_shipped_copy_holds_every_run_once() -> None:
    origin = SOURCE.origins[0]
    paths = origin.bundled_paths()
    assert paths is not None
    found = [item for item in origin.read(paths) if isinstance(item, Run)]
    kinds = [str((run.extra or {})["gemstones.variant"]) for run in found]
    assert {kind: kinds.count(kind) for kind in kinds} == {"hot": 22, "cooler": 20, "cooled": 199}
    ids = {run.run_id for run in found}
    assert len(ids) == 241
    assert all(run.parent_run_id in ids for run in found if run.parent_run_id)
    losses = [c for run in found for c in run.curves if c.metric == "validation/loss"]
    assert sum(len(c.step) for c in losses) == 3_850 + 1_000 + 199 + 199


def test_rows_out_of_step_are_refused() -> None:
    contents = fixture_contents()
    name = "wandb_df_for_fitting_cool_end.jsonl"
    lines = contents[name].splitlines(keepends=True)
    with pytest.raises(RawFileError, match=r"cool_end\.jsonl"):
        list(read(contents | {name: b"".join(lines[:-1])}))
    with pytest.raises(RawFileError, match="expected JSON lines"):
        list(read(contents | {name: b'{"run_name": 1'}))
