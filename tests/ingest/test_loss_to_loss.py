"""Loss-to-loss prediction, against rows read in the original tables by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources.loss_to_loss import SOURCE, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "loss_to_loss"


def fixture_contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in FIXTURE.iterdir()}


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {i.run_id: i for i in read(fixture_contents()) if isinstance(i, Run)}


@pytest.mark.parametrize(
    ("run", "field", "value"),
    [
        ("loss_to_loss/poogh2lo", "final_loss", 2.9674649238586426),
        ("loss_to_loss/poogh2lo", "train_steps", 8_830),
        ("loss_to_loss/poogh2lo", "nominal_train_tokens", 4_630_828_457),
        ("loss_to_loss/poogh2lo", "train_flops", 4.84e19),
        ("loss_to_loss/poogh2lo", "dataset", "smollm-corpus"),
        ("loss_to_loss/poogh2lo", "params_total", 1_741_948_928),
        ("loss_to_loss/poogh2lo", "learning_rate", None),
        ("loss_to_loss/655190hd", "d_model", 2_560),
        ("loss_to_loss/655190hd", "final_loss", 2.649285078048706),
        ("loss_to_loss/655190hd", "train_flops", 1e21),
    ],
)
def test_values_are_those_of_the_table(
    runs: dict[str, Run], run: str, field: str, value: object
) -> None:
    assert getattr(runs[run], field) == value


def test_train_loss_and_its_means_are_five_metrics(runs: dict[str, Run]) -> None:
    values = {m["name"]: m for m in runs["loss_to_loss/poogh2lo"].metrics or ()}
    assert len(values) == 13  # eight validation sets, five train losses
    assert values["train/loss"]["value"] == 2.24537992477417
    assert values["train/loss_mean_100"]["value"] == 2.25155969099565
    assert values["train/loss_mean_100"]["smoothing"] == "mean of the last 100 logged values"


def test_scores_are_no_losses_of_the_run(runs: dict[str, Run]) -> None:
    scores = {(e.task, e.kind): e.value for e in runs["loss_to_loss/poogh2lo"].evals}
    assert scores["piqa_test", "len_norm"] == 0.6779107451438904
    assert not any("erplexity" in task for task, _ in scores)


def test_nothing_is_shipped_because_no_licence_is_stated() -> None:
    assert SOURCE.licence is None
    assert all(origin.bundled_paths() is None for origin in SOURCE.origins)


def test_a_word_in_a_number_is_named_with_its_line() -> None:
    contents = fixture_contents()
    contents["sweep.csv"] = contents["sweep.csv"].replace(b"2.9674649238586426", b"two")
    with pytest.raises(RawFileError, match=r'sweep\.csv line 2: eval/c4_val.* is "two"'):
        list(read(contents))
