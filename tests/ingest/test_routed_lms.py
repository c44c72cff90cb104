"""The routed language models, against rows read in the original table by eye."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources.routed_lms import FILE, SOURCE, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "routed_lms" / FILE


def files_with(path: Path) -> dict[str, Path]:
    return dict(SOURCE.origins[0].bundled_paths() or {}) | {FILE: path}


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {i.run_id: i for i in read(files_with(FIXTURE)) if isinstance(i, Run)}


@pytest.mark.parametrize(
    ("run", "field", "value"),
    [
        ("routed_lms/000", "d_model", 1_536),
        ("routed_lms/000", "n_layers", 12),
        ("routed_lms/000", "head_dim", 128),
        ("routed_lms/000", "n_experts", 1),
        ("routed_lms/000", "params_non_embedding", 368_123_904),
        ("routed_lms/000", "seed", 42),
        ("routed_lms/054", "n_experts", 64),
        ("routed_lms/054", "final_step", 249_000),
        ("routed_lms/054", "final_loss", 2.6861111100181465),
        ("routed_lms/054", "status", "finished"),
        ("routed_lms/054", "learning_rate", None),
    ],
)
def test_values_are_those_of_the_table(
    runs: dict[str, Run], run: str, field: str, value: object
) -> None:
    assert getattr(runs[run], field) == value


def test_six_sets_are_six_curves(runs: dict[str, Run]) -> None:
    """Row 2: hyper_id 0, step 10000, loss_c4 3.1519536979154146, loss_validation 2.87550..."""
    curves = {c.metric: c for c in runs["routed_lms/000"].curves}
    assert len(curves) == 6
    c4 = curves["validation/c4"]
    assert (int(c4.step[1]), float(c4.value[1])) == (10_000, 3.1519536979154146)
    assert float(curves["validation/loss"].value[1]) == 2.8755049167659514
    assert c4.tokens is not None
    assert np.array_equal(c4.tokens, c4.step * 256 * 2_048)


def test_one_expert_means_dense(runs: dict[str, Run]) -> None:
    assert (runs["routed_lms/000"].extra or {})["routed_lms.router_type"] == "Dense"


def test_221_runs_are_rows_of_scalebench() -> None:
    paths = SOURCE.origins[0].bundled_paths()
    assert paths is not None
    found = [item for item in read(paths) if isinstance(item, Run)]
    assert len(found) == 223
    links = [run.same_as[0] for run in found if run.same_as]
    assert len(links) == len(set(links)) == 221


def test_a_cut_file_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.write_bytes(FIXTURE.read_bytes()[:500])
    with pytest.raises(RawFileError, match=r"curves\.csv\.gz: not a compressed CSV file"):
        list(read(files_with(path)))
