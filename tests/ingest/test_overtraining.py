"""The over-training testbed, against values read in the original files by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources.overtraining import SOURCE, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "overtraining"
SMALL, MIDDLE = "c4_original-d=96_l=8_h=4-1.0", "c4_original-d=576_l=24_h=8-1.0"
LARGE = "rw_original-open_lm_7b-1.0"


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    contents = {p.relative_to(FIXTURE).as_posix(): p.read_bytes() for p in FIXTURE.rglob("*.json")}
    items = list(read(contents))
    return {i.run_id.removeprefix("overtraining/"): i for i in items if isinstance(i, Run)}


@pytest.fixture(scope="module")
def shipped() -> list[Run]:
    origin = SOURCE.origins[0]
    paths = origin.bundled_paths()
    assert paths is not None
    return [item for item in origin.read(paths) if isinstance(item, Run)]


@pytest.mark.parametrize(
    ("run", "field", "value"),
    [
        (MIDDLE, "final_loss", 3.4326457499105776),
        (MIDDLE, "nominal_train_tokens", 3_073_547_520),
        (MIDDLE, "train_steps", 2_931),  # 3,073,547,520 / (512 x 2,048) = 2,931.2
        (MIDDLE, "train_tokens", 2_931 * 512 * 2_048),
        (MIDDLE, "learning_rate", 0.003),
        (MIDDLE, "min_learning_rate", 3e-5),
        (MIDDLE, "weight_decay", 0.033),
        (MIDDLE, "warmup_steps", 400),
        (MIDDLE, "batch_size_sequences", 512),
        (MIDDLE, "params_total", 153_677_376),
        (MIDDLE, "d_model", 576),
        (MIDDLE, "n_layers", 24),
        (MIDDLE, "n_heads", 8),
        (MIDDLE, "dataset", "c4"),
        (MIDDLE, "adam_beta2", 0.95),
        (MIDDLE, "adam_beta1", None),
        (LARGE, "d_model", 4_096),
        (LARGE, "n_layers", None),
        (LARGE, "dataset", "refinedweb"),
    ],
)
def test_values_are_those_of_the_file(
    runs: dict[str, Run], run: str, field: str, value: object
) -> None:
    assert getattr(runs[run], field) == value


def test_params_no_embed_still_counts_the_output_layer(runs: dict[str, Run]) -> None:
    """24 blocks of width 576 hold about 12 x 576^2 x 24 = 95.6M parameters, not 124.6M."""
    size = runs[MIDDLE].params_non_embedding
    assert size == 153_677_376 - 2 * 50_432 * 576
    assert size == pytest.approx(12 * 576**2 * 24, rel=0.001)


def test_7b_files_carry_the_command_line_of_another_run(runs: dict[str, Run]) -> None:
    run = runs[LARGE]
    assert run.flags == ("command_line_of_another_run",)
    assert (run.learning_rate, run.weight_decay, run.warmup_steps) == (3e-4, 0.33, 5_000)
    assert run.batch_size_sequences is None
    assert run.train_steps is None
    assert run.nominal_train_tokens == 137_788_211_200


def test_eight_losses_keep_their_sets_apart(runs: dict[str, Run]) -> None:
    values = {m["name"]: m["value"] for m in runs[MIDDLE].metrics or ()}
    assert values == {
        "validation/openlm": 4.149683564901352,
        "validation/c4_val": 3.4326457499105776,
        "validation/paloma_c4_en": 3.456260763700528,
        "validation/paloma_dolma_100_programing_languages": 3.708271761767718,
        "validation/paloma_falcon-refinedweb": 3.82947242066143,
        "validation/paloma_ptb": 4.860542611642317,
        "validation/paloma_redpajama": 4.028380831893609,
        "validation/de-en": 4.2668189951218665,
    }


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        (SMALL, {"piqa": 0.5435255765914917, "arc_easy": 0.2777777910232544}),
        (MIDDLE, {"piqa": 0.6256800889968872, "lambada_openai": 0.2026004195213318}),
        (LARGE, {"piqa": 0.7801958918571472, "mmlu": 0.2654554175311013}),
    ],
)
def test_46_downstream_tasks_are_read_from_a_clone(name: str, tasks: dict[str, float]) -> None:
    """The shipped copy has none; a folder that holds evals/ beside models/ gives them.

    Averages a file holds beside its tasks (that of the 7B model does) are no tasks.
    """
    file = f"models/{name}.json"
    items = list(SOURCE.origins[1].read({file: FIXTURE / file}))
    (run,) = (item for item in items if isinstance(item, Run))
    found = {e.task: e.value for e in run.evals}
    assert len(found) == len(run.evals) == 46
    assert tasks.items() <= found.items()
    assert {e.kind for e in run.evals} == {"accuracy"}


def test_addresses_of_the_authors_machines_are_left_out(shipped: list[Run]) -> None:
    for run in shipped:
        assert not any(s in str(run.raw_config) for s in ("s3://", "/admin", "/fsx", "/home"))


def test_shipped_copy_holds_104_runs_x_8_losses(shipped: list[Run]) -> None:
    assert len(shipped) == 104
    assert all(len(run.metrics or ()) == 8 for run in shipped)
    flags = [run.flags[0] for run in shipped if run.flags]
    assert flags.count("command_line_of_another_run") == 3
    assert flags.count("tokens_contradict_command_line") == 2


def test_a_cut_file_is_refused_with_its_name() -> None:
    name = f"models/{SMALL}.json"
    content = (FIXTURE / name).read_bytes()
    with pytest.raises(RawFileError, match=r"d=96_l=8_h=4-1\.0\.json: not JSON"):
        list(read({name: content[:3_000]}))
    with pytest.raises(RawFileError, match="params_no_embed"):
        list(read({name: content.replace(b"params_no_embed", b"p")}))
