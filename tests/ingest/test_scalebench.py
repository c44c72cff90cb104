"""ScaleBench's tables and the data-constrained runs, against rows read in the original files.

The tables are shipped whole (110 KB), so the tests read them and not an excerpt.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.base import Source
from ncpl_data.ingest.sources import datablations, scalebench, steplaw


def read_shipped(source: Source) -> dict[str, Run]:
    origin = next(origin for origin in source.origins if origin.bundled_paths() is not None)
    paths = origin.bundled_paths()
    assert paths is not None
    return {item.run_id: item for item in origin.read(paths) if isinstance(item, Run)}


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {k.removeprefix("scalebench/"): v for k, v in read_shipped(scalebench.SOURCE).items()}


@pytest.mark.parametrize(
    ("run", "field", "value"),
    [
        ("lr_bsz_train_0000", "learning_rate", 0.0003453),
        ("lr_bsz_train_0000", "batch_size_sequences", 736),
        ("lr_bsz_train_0000", "final_loss", 2.3976109618296744),
        ("lr_bsz_train_0000", "params_non_embedding", 214_663_680),
        ("farseer_train_0000", "final_loss", 0.675320662),
        ("farseer_train_0000", "final_loss_unit", "other"),
        ("farseer_train_0000", "nominal_train_tokens", 1_999_929_344),
        ("data_constrained_train_0000", "params_total", 2_810_000_000),
        ("moe_train_0001", "n_experts", 64),
        ("moe_train_0001", "final_loss", 2.6410507069031457),
        ("parallel_test_0000", "n_parallel_streams", 8),
        ("parallel_test_0000", "dataset", "stack"),
        ("parallel_test_0000", "final_loss", 1.1231),
        ("vocab_train_0000", "vocab_size", 4_096),
        ("vocab_train_0000", "final_loss", -1.3494449853897097),
        ("vocab_train_0000", "final_loss_unit", "normalized"),
        ("domain_mixture_train_0000", "final_loss", None),
    ],
)
def test_values_are_those_of_the_table(
    runs: dict[str, Run], run: str, field: str, value: object
) -> None:
    assert getattr(runs[run], field) == value


def test_eight_tables_give_5073_rows(runs: dict[str, Run]) -> None:
    counts = Counter(name.rsplit("_", 2)[0] for name in runs)
    assert counts == {
        "lr_bsz": 2_819,
        "vocab": 1_200,
        "farseer": 411,
        "moe": 221,
        "data_constrained": 182,
        "domain_mixture": 104,
        "sparsity": 88,
        "parallel": 48,
    }


def test_step_law_rows_are_linked_one_to_one(runs: dict[str, Run]) -> None:
    owners = read_shipped(steplaw.SOURCE)
    linked = [run for name, run in runs.items() if name.startswith("lr_bsz")]
    ids = [run.same_as[0] for run in linked if run.same_as]
    assert len(set(ids)) == 2_819
    for run in linked:
        assert run.same_as is not None
        assert owners[run.same_as[0]].final_loss == run.final_loss


def test_data_constrained_rows_are_linked_one_to_one(runs: dict[str, Run]) -> None:
    owners = read_shipped(datablations.SOURCE)
    assert len(owners) == 182
    linked = [run for name, run in runs.items() if name.startswith("data_constrained")]
    assert {run.same_as[0] for run in linked if run.same_as} == set(owners)


def test_epochs_are_tokens_over_unique_tokens() -> None:
    """Row 0: 2.81B parameters, 4B unique tokens, 32B tokens, loss 2.722962."""
    run = read_shipped(datablations.SOURCE)["datablations/n2810M_u4000M_d32000M"]
    assert (run.epochs, run.final_loss) == (8.0, 2.722962)


def test_the_checkpoints_of_one_run_continue_one_another(runs: dict[str, Run]) -> None:
    """In this table alone: 6 sizes x 10 vocabularies, each with 20 checkpoints over both parts."""
    table = {name: run for name, run in runs.items() if name.startswith("vocab_")}
    parents = {name: run.parent_run_id for name, run in table.items() if run.parent_run_id}
    assert (len(table), len(parents)) == (1200, 1140)
    assert not any(run.parent_run_id for name, run in runs.items() if name not in table)
    for name, parent in parents.items():
        before, run = table[str(parent).removeprefix("scalebench/")], table[name]
        assert before.vocab_size == run.vocab_size
        assert before.params_non_embedding == run.params_non_embedding
        assert before.extra is not None
        assert run.extra is not None
        key = "scalebench.num_characters"
        assert before.extra[key] < run.extra[key]


def test_no_family_mixes_two_tables(runs: dict[str, Run]) -> None:
    families: dict[tuple[object, ...], set[str]] = {}
    for name, run in runs.items():
        if run.final_loss is not None:
            key = (run.final_loss_metric, run.dataset, run.tokenizer, run.final_loss_unit)
            families.setdefault(key, set()).add(name.rsplit("_", 2)[0])
    assert all(len(tables) == 1 for tables in families.values())


def test_mixture_row_keeps_its_five_losses(runs: dict[str, Run]) -> None:
    run = runs["domain_mixture_train_0000"]
    assert [m["value"] for m in run.metrics or ()] == [
        2.6459999646092864,
        3.6729977990164975,
        3.2075157752403847,
        1.804287850660066,
        3.643034297052154,
    ]
    assert sum(part["share_frac"] for part in run.mixture or ()) == pytest.approx(1.0)


def test_a_file_that_is_no_table_is_refused_with_its_name(tmp_path: Path) -> None:
    origin = datablations.SOURCE.origins[0]
    paths = dict(origin.bundled_paths() or {})
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 but not really")
    paths["data_constrained_scaling_law/train-00000-of-00001.parquet"] = broken
    with pytest.raises(RawFileError, match=r"datablations broken\.parquet: expected a Parquet"):
        list(origin.read(paths))
