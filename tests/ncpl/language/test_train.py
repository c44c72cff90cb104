"""Training: it learns, it stops early, and a cut-off run continues to the same weights."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ncpl.errors import BundleError, NcplError
from ncpl.language.base import load_base
from ncpl.language.checkpoint import Progress
from ncpl.language.network import LanguageNetwork
from ncpl.language.parallel import Parallel
from ncpl.language.pipeline import Data, vocabulary_of
from ncpl.language.sequence import Sequencer
from ncpl.language.settings import LanguageConfig
from ncpl.language.train import BEST, Trainer

CPU = Parallel(torch.device("cpu"))


class CutOffError(Exception):
    """Stands for a process that is gone."""


def trainer_of(data: Data, config: LanguageConfig, folder: Path, **options: object) -> Trainer:
    words = vocabulary_of(data.train, config)
    assert words is not None

    def build() -> LanguageNetwork:
        torch.manual_seed(0)
        base = load_base(config, seed=0, words=words).model
        return LanguageNetwork(base, head_start_scale=config.head_start_scale)

    given = {"seed": 0, "key": "key", "folder": folder, "parallel": CPU} | options
    few, fold = (
        part.take([i % 9 == 0 for i in range(len(part))]) for part in (data.train, data.fold)
    )
    config = dataclasses.replace(config, batch_size_runs=math.ceil(len(few) / 5))
    return Trainer(build, Sequencer(words, config), few, fold, **given)


@pytest.fixture(scope="module")
def unbroken(
    data: Data, small: LanguageConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Progress]:
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, trainer_of(data, small, folder).run()


def test_training_learns_and_keeps_the_best_weights(unbroken: tuple[Path, Progress]) -> None:
    folder, progress = unbroken
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(15))
    assert [line["stage"] for line in lines] == ["stage1"] * 5 + ["stage2"] * 10
    looks = {line["step"] + 1: line["held_out_mae"] for line in lines if "held_out_mae" in line}
    assert min(looks.values()) == looks[progress.best_step] == progress.best_error
    assert progress.best_error < 0.06, "the law alone misses by about that"
    assert (folder / BEST).is_file()


def test_the_first_stage_leaves_the_backbone_alone(
    data: Data, small: LanguageConfig, tmp_path: Path
) -> None:
    trainer = trainer_of(data, dataclasses.replace(small, stage2_epochs=0), tmp_path)
    trainer.run()
    before, after = trainer.build().state_dict(), load_file(tmp_path / BEST)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all(name.startswith(("num_mlp.", "head.")) for name in moved)


@pytest.mark.parametrize("cut_after", [1, 5, 6, 13])
def test_a_run_cut_off_anywhere_continues_to_the_same_weights(
    data: Data,
    small: LanguageConfig,
    tmp_path: Path,
    unbroken: tuple[Path, Progress],
    cut_after: int,
) -> None:
    def cut(step: int, steps: int, loss: float) -> None:
        if step == cut_after:
            raise CutOffError

    with pytest.raises(CutOffError):
        trainer_of(data, small, tmp_path, show=cut).run()
    found = trainer_of(data, small, tmp_path).run(resume=True)
    assert found == unbroken[1]
    for name in (BEST, "checkpoint.safetensors"):
        whole, resumed = load_file(unbroken[0] / name), load_file(tmp_path / name)
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[key], resumed[key]) for key in whole), name
    numbers = [
        [json.loads(line)["loss"] for line in (f / "metrics.jsonl").read_text().splitlines()]
        for f in (unbroken[0], tmp_path)
    ]
    assert numbers[0] == numbers[1]


def test_a_checkpoint_of_other_settings_is_refused(
    data: Data, small: LanguageConfig, unbroken: tuple[Path, Progress]
) -> None:
    with pytest.raises(BundleError, match="belongs to other settings, another snapshot or seed"):
        trainer_of(data, small, unbroken[0], key="other").run(resume=True)


def test_a_damaged_checkpoint_is_one_sentence(
    data: Data, small: LanguageConfig, tmp_path: Path
) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(BundleError, match="is damaged"):
        trainer_of(data, small, tmp_path).run(resume=True)


def test_training_stops_when_the_held_out_groups_get_no_better(
    data: Data, small: LanguageConfig, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        small, patience=2, evaluate_every=1, stage2_learning_rate=0.0, stage2_epochs=9
    )
    progress = trainer_of(data, config, tmp_path).run()
    assert progress.step == progress.best_step + 2 < 5 * 10


def test_a_deadline_ends_training_with_weights_to_keep(
    data: Data, small: LanguageConfig, tmp_path: Path
) -> None:
    assert trainer_of(data, small, tmp_path, deadline=0.0).run().step == 1
    assert (tmp_path / BEST).is_file()


def test_a_lost_loss_is_an_error(data: Data, small: LanguageConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(small, stage1_learning_rate=1e30)
    with pytest.raises(NcplError, match=r"the loss is .* lower the learning rates"):
        trainer_of(data, config, tmp_path).run()


def test_cutting_a_batch_into_more_passes_changes_nothing(
    data: Data, small: LanguageConfig, tmp_path: Path, unbroken: tuple[Path, Progress]
) -> None:
    config = dataclasses.replace(small, max_tokens=200)
    found = trainer_of(data, config, tmp_path).run()
    assert found.best_error == pytest.approx(unbroken[1].best_error, abs=1e-5)


def test_bf16_and_checkpointed_gradients_train(
    data: Data, small: LanguageConfig, tmp_path: Path, unbroken: tuple[Path, Progress]
) -> None:
    config = dataclasses.replace(small, precision="bf16", gradient_checkpointing=True)
    found = trainer_of(data, config, tmp_path).run()
    assert found.best_error == pytest.approx(unbroken[1].best_error, abs=3e-3)


@pytest.mark.slow
# The compiler of torch 2.13 uses what torch deprecates and reads what it warns of.
@pytest.mark.filterwarnings("default")
def test_compiled_training_gives_the_same_errors(
    data: Data, small: LanguageConfig, tmp_path: Path, unbroken: tuple[Path, Progress]
) -> None:
    pytest.importorskip("torch._inductor")
    config = dataclasses.replace(small, compile=True, stage1_epochs=0, stage2_epochs=1)
    plain = dataclasses.replace(config, compile=False)
    found = [
        trainer_of(data, c, tmp_path / str(c.compile)).run().best_error for c in (config, plain)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-4)
