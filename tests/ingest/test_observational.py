"""The observational table, against rows read in the original file by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources.observational import FILE, SOURCE, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "observational" / FILE


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    items = read({FILE: FIXTURE.read_bytes()})
    return {item.run_id: item for item in items if isinstance(item, Run)}


def test_sizes_and_tokens_come_out_in_units(runs: dict[str, Run]) -> None:
    """Line 2: Llama-2-7b-hf, 7.0 billion, 2.0 trillion, 84.0 x 1e21 FLOP, MMLU .43796."""
    run = runs["observational/meta-llama/Llama-2-7b-hf"]
    assert run.params_total == 7_000_000_000
    assert run.nominal_train_tokens == 2_000_000_000_000
    assert run.train_flops == pytest.approx(8.4e22)
    scores = {e.task: e.value for e in run.evals}
    assert len(scores) == 8
    assert scores["MMLU"] == 0.4379609636092418


def test_unpublished_tokens_stay_null(runs: dict[str, Run]) -> None:
    run = runs["observational/Qwen/Qwen2-57B-A14B"]
    assert run.nominal_train_tokens is None
    assert run.train_flops is None


def test_size_of_a_mixture_of_experts_is_no_parameter_count(runs: dict[str, Run]) -> None:
    """The table gives 24.0 billion for a model of 57 billion, 14 billion active."""
    run = runs["observational/Qwen/Qwen2-57B-A14B"]
    assert run.params_total is None
    assert run.extra == {"observational.size_billions": 24.0}


def test_there_are_scores_and_no_losses(runs: dict[str, Run]) -> None:
    assert all(run.final_loss is None and not run.curves for run in runs.values())


def test_shipped_table_holds_148_models() -> None:
    origin = SOURCE.origins[0]
    paths = origin.bundled_paths()
    assert paths is not None
    found = [item for item in origin.read(paths) if isinstance(item, Run)]
    assert len(found) == 148
    assert sum(run.nominal_train_tokens is None for run in found) == 25


def test_a_cut_row_is_named_with_its_line() -> None:
    content = FIXTURE.read_bytes()[:-30]
    with pytest.raises(RawFileError, match=r"base_llm_benchmark_eval\.csv: line 5"):
        list(read({FILE: content}))
