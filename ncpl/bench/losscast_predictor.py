"""NCPL as a predictor of LossCast-Bench: a RunConfig of theirs -> the loss at each of its steps.

Their configurations fill gaps with guesses; `ncpl_data` repairs those of the Marin and Step Law
studies from what the run's name says, as it does when it reads their runs for the catalog. Losses
of a configuration never enter.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.bench.losscast import eval_steps
from ncpl.data.fields import FIELDS, derive
from ncpl.data.schedules import FIRST
from ncpl.errors import BundleError, ConfigError
from ncpl.model.bundle import DEFAULT, Bundle, load, read_card
from ncpl.model.community import Community, load_community
from ncpl.model.curve_process import design
from ncpl.model.prefix import AnyPrefix, load_prefix

Array = npt.NDArray[np.float64]
PREFIXES = {"ncpl_marin_": "marin", "ncpl_steplaw_": "steplaw", "nanochat_": "losscast"}
"""Beginnings of their run ids, and whose losses these are."""
BESIDE = ("decay_steps", "optimizer_extra", "dataset", "tokenizer")
"""What is read of a configuration beside FIELDS; never an outcome."""
START = {"marin": 12.21, "steplaw": 9.0, "losscast": 9.01}
EARLY = {"marin": 0.25, "steplaw": 0.5, "losscast": 0.75}
"""Before 2% of a run no curve is predicted: from START, nats, the loss falls to the curve's begin
along the logarithm of the step to a power. By their training split: medians of step 0 (Marin 2,134
runs, nanochat 590), and the power, for Step Law the start too, with the least error on its points
there (nanochat 903, Step Law 3,194, Marin one)."""


def predict(config: Mapping[str, Any]) -> dict[int, float]:
    """Return the loss in nats at every evaluation step of a RunConfig of LossCast-Bench.

    Raises ConfigError for a run of a study that no bundle knows.
    """
    steps = eval_steps(config)
    ours = ours_of(config)
    total = float(derive(ours)["train_steps"])
    at = np.minimum((np.array(steps) + 1) / total, 1.0)
    late = np.maximum(at, FIRST)
    curve = curve_of(ours, np.append(late, FIRST))
    loss, begin = curve[:-1], float(curve[-1])
    source = ours["source"]
    fallen = np.log1p(steps) / np.log1p(FIRST * total)
    early = START[source] + (begin - START[source]) * np.minimum(fallen, 1.0) ** EARLY[source]
    told = np.where(at < FIRST, early, loss)
    return {step: float(value) for step, value in zip(steps, told, strict=True)}


def ours_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a RunConfig under our names, with its source, guesses repaired.

    Raises ConfigError for a study that is not known, or a configuration that is not theirs.
    """
    run_id = str(config.get("run_id", ""))
    prefix = next((p for p in PREFIXES if run_id.startswith(p)), None)
    if prefix is None:
        raise ConfigError(
            f"{run_id or 'a configuration without run_id'}: expected a run of LossCast-Bench, "
            f"whose id begins with {', '.join(PREFIXES)}"
        )
    try:
        # By name: ncpl stands alone, and the data half knows what of theirs is a guess.
        study = importlib.import_module("ncpl_data.ingest.studies.losscast")
        source = importlib.import_module("ncpl_data.ingest.sources.losscast")
    except ImportError as error:
        raise ConfigError(f"to read their configurations {error.name} is needed") from error
    steps = np.array(eval_steps(config))
    nothing = np.ones(len(steps))  # a record has a curve; this one's is never read
    native = run_id if prefix == "nanochat_" else run_id.removeprefix(prefix)
    record = study.Record(
        0, run_id, study.PREFIXES[prefix], native, "", {"extra": {"val_bpb": None}} | dict(config),
        steps, nothing,
    )  # fmt: skip
    try:
        (run,) = source.read(iter([record]), hidden_choices() if prefix == "ncpl_marin_" else {})
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{run_id} is no RunConfig of LossCast-Bench ({error!r})") from error
    fields = {name: getattr(run, name, None) for name in (*FIELDS, *BESIDE)}
    return {k: v for k, v in fields.items() if v is not None} | {"source": PREFIXES[prefix]}


@cache
def hidden_choices() -> Mapping[str, Any]:
    """Return the hyperparameters of Marin runs that their names' digests give away, by name."""
    source = importlib.import_module("ncpl_data.ingest.sources.losscast")
    table = importlib.import_module("ncpl_data.ingest.studies.recover_marin")
    found: Mapping[str, Any] = table.read_table(source.HIDDEN.bundled_path())
    return found


def curve_of(config: Mapping[str, Any], share_P: Array) -> Array:
    """Return losses at shares of a run, nats.

    Of the main bundle; for a family that only the community knows, its final loss with the shape
    that curves of all families share.
    """
    main, community, shape = loaded()
    source = config["source"]
    if any(source == fit.family[0] for fit in main.fits):
        return np.asarray(main.curves([config], share_P.tolist())[0])
    community.named(source, 1)
    (end,) = community.predict([config])
    row = derive(config)
    along = design([row], share_P[None])[0][:, 1:] @ shape.curves.mean[1:]
    return np.asarray(end.loss + along)


@cache
def loaded() -> tuple[Bundle, Community, AnyPrefix]:
    """Return the shipped bundles, and the shape of any curve."""
    prefix = load_prefix(DEFAULT, read_card(DEFAULT))
    if prefix is None:
        raise BundleError(f"{DEFAULT} holds nothing of starts of runs")
    return load(), load_community(), prefix.anywhere
