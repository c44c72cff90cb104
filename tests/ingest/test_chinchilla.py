"""Chinchilla's digitised points, against rows read in the original file by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources.chinchilla import FILE, SOURCE, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "chinchilla" / FILE


def test_points_keep_their_values_and_say_how_they_are_known() -> None:
    """Line 2: 6795600349.289497 parameters, 9.993852799709755e+18 FLOP, loss 5.005581996196243."""
    runs = [item for item in read({FILE: FIXTURE}) if isinstance(item, Run)]
    assert len(runs) == 8
    run = runs[0]
    assert run.run_id == "chinchilla/point_000"
    assert run.params_total == 6_795_600_349
    assert run.train_flops == 9.993852799709755e18
    assert run.final_loss == 5.005581996196243
    assert run.flags == ("digitised",)
    assert run.status is None


def test_tokens_are_flops_over_six_parameters() -> None:
    run = next(item for item in read({FILE: FIXTURE}) if isinstance(item, Run))
    assert run.nominal_train_tokens == round(9.993852799709755e18 / (6 * 6795600349.289497))
    assert run.origins is not None
    assert run.origins["nominal_train_tokens"]["kind"] == "derived"


def test_nothing_is_shipped_because_no_licence_is_stated() -> None:
    (origin,) = SOURCE.origins
    assert origin.licence is None
    assert origin.bundled_paths() is None
    assert origin.n_runs == 245


def test_a_word_in_a_number_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_text(FIXTURE.read_text().replace("5.005581996196243", "five"))
    with pytest.raises(RawFileError, match=r'line 2: loss is "five"'):
        list(read({FILE: path}))
