"""What a pretrained base gives the paper's mode, against random weights of the same shape.

On training runs: whole groups are left out of a training and scored, those of `parts`. Of the other
runs the paper's mode holds out groups of its own; they choose the step and, in trainings of few
epochs, the rates of each arm. ID and OOD are never used.
"""

from __future__ import annotations

import copy
import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import nn

from ncpl.data.snapshot import Family, Runs, Snapshot
from ncpl.errors import ConfigError
from ncpl.language.base import Base, load_base, new_backbone
from ncpl.language.examples import Examples, examples_of, laws_of
from ncpl.language.forecast import residuals
from ncpl.language.network import LanguageNetwork
from ncpl.language.parallel import Parallel
from ncpl.language.pipeline import Data, data_of
from ncpl.language.sequence import Sequencer
from ncpl.language.settings import LanguageConfig
from ncpl.language.train import BEST, Trainer
from ncpl.language.vocabulary import Vocabulary
from ncpl.train.calibrate import folds
from research.ablate.parts import N_FOLDS, PAPER

PRETRAINED, RANDOM = ARMS = ("pretrained", "random")
RATES = (1e-4, 3e-4, 8e-4, 2e-3, 5e-3)
"""Learning rates an arm chooses from."""
NUMBER_FACTOR = 3.0
"""Rate of the number encoder and the head over the base's, tried beside that of the settings."""
STAGE1_FRAC = 0.2
"""Share of the epochs with a frozen base, tried for pretrained weights."""
CPU = Parallel(torch.device("cpu"))
LeftOut = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TrainingRecipe:
    """What an arm chooses."""

    learning_rate: float
    number_factor: float
    has_stage1: bool = False

    def settings(self, config: LanguageConfig, n_epochs: int) -> LanguageConfig:
        """Return the settings of a training of so many epochs, a first stage included."""
        first = max(1, round(n_epochs * STAGE1_FRAC)) if self.has_stage1 else 0
        return dataclasses.replace(
            config,
            stage1_epochs=first,
            stage2_epochs=n_epochs - first,
            stage2_learning_rate=self.learning_rate,
            number_learning_rate_factor=self.number_factor,
        )

    def __str__(self) -> str:
        """Return the recipe as a card tells it."""
        rate = f"rate {self.learning_rate:g}"
        if self.number_factor != 1.0:
            rate += f", numbers and head x{self.number_factor:g}"
        return f"{rate}, first stage with a frozen base" if self.has_stage1 else rate


@dataclass(frozen=True)
class Trial:
    """One training and what came of it; errors are mean absolute ones, nats."""

    source: str
    arm: str
    fold: int | None
    """Which left-out groups it was scored on, from 1; None where it only served to choose."""
    recipe: TrainingRecipe
    seed: int
    n_epochs: int
    n_runs: int
    n_steps: int
    best_step: int
    chosen_mae: float
    """On the groups that chose the step."""
    left_out_mae: float | None
    law_mae: float | None
    """Of the law alone, on the same left-out groups."""
    cpu_seconds: float


def compare_bases(
    snapshot: Snapshot,
    runs: Runs,
    config: LanguageConfig,
    *,
    n_search_epochs: int,
    n_folds: int = N_FOLDS,
    seed: int = 0,
    told: Callable[[Trial], None] = lambda _: None,
    show: Callable[[int, int, float], None] | None = None,
) -> list[dict[str, Any]]:
    """Return one row an arm and source: MAE on left-out groups, nats, and how it was come by.

    Both arms get the same shape, runs, batches and epochs, those of the settings. Before that each
    chooses its rates, and the pretrained one whether to begin with a frozen base, in trainings of
    `n_search_epochs` without the first fold. Of the N_FOLDS folds the first `n_folds` are scored.
    `told` is given every training when it is over, `show` (step, steps, loss) after each step.

    Raises ConfigError for a base without weights or tokenizer.
    """
    if config.base == "random" or config.tokenizer != "base" or not config.is_pretrained:
        raise ConfigError(
            "to compare pretrained with random weights, give a base that has weights and a "
            "tokenizer: --base smollm2, a hub id, a folder or a GGUF file"
        )
    laws = laws_of(runs, config)
    base = shrunk(load_base(config, seed=seed), examples_of(runs, laws, config, "train"), config)
    rows = []
    for family in laws:
        own = dataclasses.replace(config, sources=(family[0],))
        train = runs.where(family=family, split="train").finished()
        comparison = _Comparison(snapshot, train, own, base, seed, told, show)
        rows += comparison.rows(family, n_search_epochs, n_folds)
    return rows


def shrunk(base: Base, examples: Examples, config: LanguageConfig) -> Base:
    """Return a base that knows only the tokens of these examples, fewer than a hundred.

    The rows of the others in the table of embeddings, two thirds of the weights of four layers of
    SmolLM2, get no gradient, so that without them training gives the same in less time.
    """
    assert base.vocabulary is not None
    sequencer = Sequencer(base.vocabulary, config)
    used = {base.vocabulary.filler}
    for query in examples.queries:
        used.update(sequencer.prefix(query.row).ids)
        used.update(*(sequencer.block(fraction).ids for fraction in query.fractions))
    few = FewTokens(base.vocabulary, sorted(used))
    table = base.model.get_input_embeddings().weight.detach()
    own = nn.Embedding(few.size, table.shape[1])
    own.weight = nn.Parameter(table[few.used])
    base.model.set_input_embeddings(own)
    base.shape.vocab_size = few.size
    base.shape.pad_token_id = None  # nothing is padded with it, and its row may be gone
    return Base(base.model, few)


class FewTokens(Vocabulary):
    """The tokens of a vocabulary with these ids, numbered anew."""

    def __init__(self, whole: Vocabulary, used: list[int]) -> None:
        super().__init__(whole.tokenizer)
        self.used = used
        self.place = {token: at for at, token in enumerate(used)}
        self.size, self.filler = len(used), self.place[whole.filler]

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.place[token] for token in super()._encode(text))


@dataclass
class _Errors:
    """Absolute errors on left-out runs, nats."""

    network: list[float] = field(default_factory=list)
    law: list[float] = field(default_factory=list)


@dataclass
class _Comparison:
    snapshot: Snapshot
    train: Runs
    config: LanguageConfig
    base: Base
    seed: int
    told: Callable[[Trial], None]
    show: Callable[[int, int, float], None] | None

    def rows(self, family: Family, n_search_epochs: int, n_folds: int) -> list[dict[str, Any]]:
        left_out = [out for where, out in folds(self.train, N_FOLDS) if where == "inside"]
        first = self.data(left_out[0])
        chosen = {arm: self.choose(arm, n_search_epochs, first) for arm in ARMS}
        errors = {arm: _Errors() for arm in ARMS}
        n_epochs = self.config.stage1_epochs + self.config.stage2_epochs
        n_steps = 0
        for i, out in enumerate(left_out[:n_folds]):
            data = self.data(out)
            asked = examples_of(self.train.take(out), data.laws, self.config, "train")
            for arm in ARMS:
                trial, own = self.trained(arm, chosen[arm], n_epochs, data, (i + 1, asked))
                errors[arm].network += own.network
                errors[arm].law += own.law
                n_steps = trial.n_steps
        kept = self.config.base_layers
        part = f"'s first {kept} layer{'s' * (kept > 1)}" if kept else ""
        name = f"{PAPER}, {Path(self.config.base).name}{part}"
        n_scored = min(n_folds, len(left_out))
        note = (
            f"{name}, on {family[0]}: for each scored fold of groups ({n_scored} of "
            f"{len(left_out)}) an arm was trained {n_epochs} epochs (about {n_steps} steps of "
            f"{self.config.batch_size_runs} runs) without them; the law alone misses them by "
            f"{np.mean(errors[RANDOM].law):.4f}. On held-out groups of the other runs each arm "
            f"chose its best step and, in trainings of {n_search_epochs} epochs, its recipe: "
            + "; ".join(f"{arm}: {chosen[arm]}" for arm in ARMS)
            + f". Snapshot {self.snapshot.id[:12]}."
        )
        return [
            {
                "source": family[0],
                "variant": f"{name}, {arm}",
                "inside": float(np.mean(errors[arm].network)),
                "note": note,
            }
            for arm in ARMS
        ]

    def data(self, out: LeftOut) -> Data:
        """Return what is trained on without the left-out runs, the law included."""
        return data_of(self.snapshot, self.train.take(~out), self.config)

    def choose(self, arm: str, n_epochs: int, data: Data) -> TrainingRecipe:
        """Return the recipe with the least error on the mode's own held-out groups."""

        def error(recipe: TrainingRecipe) -> float:
            return self.trained(arm, recipe, n_epochs, data)[0].chosen_mae

        own_factor = self.config.number_learning_rate_factor
        tried = {recipe: error(recipe) for recipe in (TrainingRecipe(r, own_factor) for r in RATES)}
        best = min(tried, key=tried.__getitem__)
        recipe = dataclasses.replace(best, number_factor=NUMBER_FACTOR)
        tried[recipe] = error(recipe)
        if arm == PRETRAINED:
            best = min(tried, key=tried.__getitem__)
            recipe = dataclasses.replace(best, has_stage1=True)
            tried[recipe] = error(recipe)
        return min(tried, key=tried.__getitem__)

    def trained(
        self,
        arm: str,
        recipe: TrainingRecipe,
        n_epochs: int,
        data: Data,
        fold: tuple[int, Examples] | None = None,
    ) -> tuple[Trial, _Errors]:
        """Train once; score the left-out runs of a fold, given with its number."""
        begun = time.process_time()
        number, asked = fold or (None, None)
        seed = self.seed + (number - 1 if number else 0)
        assert self.base.vocabulary is not None
        sequencer = Sequencer(self.base.vocabulary, recipe.settings(self.config, n_epochs))
        with tempfile.TemporaryDirectory(prefix="ncpl-ablate-") as name:
            folder = Path(name)
            trainer = Trainer(
                lambda: self.network(arm, seed), sequencer, data.train, data.fold, seed,
                key=str(recipe), folder=folder, parallel=CPU, show=self.show,
            )  # fmt: skip
            done = trainer.run()
            network = self.network(arm, seed)
            network.load_state_dict(load_file(folder / BEST))
        errors = _Errors() if asked is None else _missed(network.eval(), sequencer, asked)
        trial = Trial(
            self.config.sources[0], arm, number, recipe, seed, n_epochs,
            n_runs=len(data.train),
            n_steps=done.step,
            best_step=done.best_step,
            chosen_mae=done.best_error,
            left_out_mae=float(np.mean(errors.network)) if fold else None,
            law_mae=float(np.mean(errors.law)) if fold else None,
            cpu_seconds=time.process_time() - begun,
        )  # fmt: skip
        self.told(trial)
        return trial, errors

    def network(self, arm: str, seed: int) -> LanguageNetwork:
        """Return an arm's network before training."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            is_kept = arm == PRETRAINED
            own = copy.deepcopy(self.base.model if is_kept else self.base.shape)
            return LanguageNetwork(
                own if is_kept else new_backbone(own), head_start_scale=self.config.head_start_scale
            )


def _missed(network: LanguageNetwork, sequencer: Sequencer, asked: Examples) -> _Errors:
    found = residuals(network, sequencer, asked.queries, torch.device("cpu"))
    targets = [query.targets[-1] for query in asked.queries]
    errors = [abs(float(found[i][-1]) - target) for i, target in enumerate(targets)]
    return _Errors(errors, [abs(target) for target in targets])
