"""From a snapshot to a scored bundle of the paper's mode in a folder."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file

from ncpl.data.snapshot import Family, Measured, Runs, Snapshot
from ncpl.language.base import load_base
from ncpl.language.bundle import LanguageBundle
from ncpl.language.card import render
from ncpl.language.checkpoint import Progress
from ncpl.language.examples import Examples, examples_of, held_out, laws_of
from ncpl.language.fits import fits_of
from ncpl.language.metrics import check_trackers
from ncpl.language.network import LanguageNetwork
from ncpl.language.parallel import Parallel, processes
from ncpl.language.prompt import ASK, pieces_of, point_pieces
from ncpl.language.quantities import check_fields
from ncpl.language.scores import rescore
from ncpl.language.sequence import Sequencer
from ncpl.language.settings import LanguageConfig
from ncpl.language.train import BEST, Trainer
from ncpl.language.vocabulary import Vocabulary
from ncpl.laws.chinchilla import Chinchilla
from ncpl.model.seal import seal
from ncpl.version import __version__

log = logging.getLogger(__name__)
TRAINING = "training"
"""Folder of checkpoints inside the bundle's, removed at the end."""


@dataclass(frozen=True)
class Data:
    """What a snapshot gives to train on."""

    laws: dict[Family, Chinchilla]
    train: Examples
    fold: Examples
    """Groups of the training part that are held out."""


def data_of(snapshot: Snapshot, runs: Runs, config: LanguageConfig) -> Data:
    """Return the training examples of a snapshot, its train part only."""
    laws = laws_of(runs, config)
    curves: Measured = {}
    for family in laws if config.has_curves else ():
        own = set(runs.where(family=family).run_ids)
        curves |= {name: at for name, at in snapshot.curves(family[1]).items() if name in own}
    every = examples_of(runs, laws, config, "train", curves)
    is_out = held_out(every.groups, config.holdout_frac)
    return Data(laws, every.take([not out for out in is_out]), every.take(is_out))


def vocabulary_of(train: Examples, config: LanguageConfig) -> Vocabulary | None:
    """Return a vocabulary of the words of training configurations; None to take the base's own."""
    if config.base != "random" and config.tokenizer == "base":
        return None
    pieces = {piece.text for query in train.queries
              for piece in pieces_of(query.row, config.fields, config.units)}  # fmt: skip
    for is_final in (True, False):
        pieces |= {p.text for p in point_pieces(0.5, config.point_style, is_final=is_final)}
    return Vocabulary.of_words([*pieces, ASK.text])


def train_language(
    snapshot: Snapshot,
    runs: Runs,
    config: LanguageConfig,
    *,
    seed: int,
    folder: Path,
    kind: str = "ddp",
    trackers: Sequence[str] = (),
    resume: bool = False,
    max_minutes: float | None = None,
    progress: bool = False,
) -> LanguageBundle | None:
    """Train and score a bundle and write it to `folder`; None in all processes but the first.

    Runs alone or under torchrun, then as `kind`: ddp or fsdp2. With `resume`, continues from the
    checkpoint an earlier call left in the folder, by however many processes.
    """
    begun = time.monotonic()
    check_fields(config.fields)
    check_trackers(trackers)
    with processes(kind) as parallel:
        data = data_of(snapshot, runs, config)
        words = vocabulary_of(data.train, config)
        base = load_base(config, seed=seed, words=words)
        assert base.vocabulary is not None
        log.info(
            "%s: %d training runs, %d held out in whole groups, %.1fM parameters in the base",
            ", ".join(f[0] for f in data.laws), len(data.train), len(data.fold),
            sum(p.numel() for p in base.model.parameters()) / 1e6,
        )  # fmt: skip

        def build() -> LanguageNetwork:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                fresh = copy.deepcopy(base.model)
                return LanguageNetwork(fresh, head_start_scale=config.head_start_scale)

        training = folder / TRAINING
        if parallel.is_first and not resume and training.is_dir():
            shutil.rmtree(training)
        parallel.wait()
        bar = bar_of(config) if progress and parallel.is_first else None
        trainer = Trainer(
            build,
            Sequencer(base.vocabulary, config),
            data.train,
            data.fold,
            seed,
            _key(config, snapshot, seed),
            training,
            parallel,
            folder,
            trackers,
            None if max_minutes is None else begun + 60 * max_minutes,
            bar,
        )
        found = trainer.run(resume=resume)
        if not parallel.is_first:
            return None
        network = LanguageNetwork(base.model)
        network.load_state_dict(load_file(training / BEST))
        return _finish(
            snapshot, runs, config, data, network.to(parallel.device).eval(), base.vocabulary,
            found, parallel, seed=seed, folder=folder, begun=begun,
        )  # fmt: skip


def _finish(
    snapshot: Snapshot,
    runs: Runs,
    config: LanguageConfig,
    data: Data,
    network: LanguageNetwork,
    vocabulary: Vocabulary,
    found: Progress,
    parallel: Parallel,
    *,
    seed: int,
    folder: Path,
    begun: float,
) -> LanguageBundle:
    bundle = LanguageBundle(config, network, vocabulary, [], snapshot.id, device=parallel.device)
    bundle.fits = fits_of(bundle, data.laws, data.train, data.fold, seed)
    best = found.best_error
    bundle.about = {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "train_seconds": round(time.monotonic() - begun),
        "train_runs": {
            family[0]: sum(q.row["source"] == family[0] for q in data.train.queries)
            for family in data.laws
        },
        "held_out_runs": len(data.fold),
        "held_out_mae": best if math.isfinite(best) else None,
        "best_step": found.best_step,
        "steps": found.step,
        "seed": seed,
        "processes": parallel.world,
        "device": str(parallel.device.type),
        "sources": snapshot.manifest.get("sources", []),
        "versions": {
            "ncpl": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    rescore(bundle, snapshot, runs)
    bundle.save(folder)
    (folder / "README.md").write_text(render(bundle.card()), encoding="utf-8")
    scores = {name: bundle.about[name] for name in ("scores", "curve_scores")}
    text = json.dumps({"snapshot_id": snapshot.id} | scores, indent=1)
    (folder / "scores.json").write_text(text + "\n", encoding="utf-8")
    seal(folder)
    shutil.rmtree(folder / TRAINING)
    return bundle


def _key(config: LanguageConfig, snapshot: Snapshot, seed: int) -> str:
    text = repr((config.sha256(), snapshot.id, seed))
    return hashlib.sha256(text.encode()).hexdigest()


def bar_of(config: LanguageConfig) -> Callable[[int, int, float], None]:
    """Return what shows (step, steps, loss) as a progress bar, one for each training."""
    from tqdm import tqdm

    bar: Any = None

    def show(step: int, steps: int, loss: float) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=steps, desc=Path(config.base).name, unit="step", leave=False)
        bar.set_postfix_str(f"loss {loss:.2e}", refresh=False)
        bar.update(step - bar.n)
        if step == steps:
            bar.close()
            bar = None

    return show
