"""LossCast-Bench's own protocol: a loss for every evaluation step of a run, and its scores.

Their rules (github.com/dangxingyu/losscast-bench at 7ab8291c, docs/metrics.md): a predictor gets a
run's configuration and answers at step 0, at each multiple of the evaluation interval and at the
last step; answers are compared where the run has a loss; the first rank is by the mean Huber loss
of all points, bent at .01 nats. Losses of runs are read from a copy of their repository.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.bench.quoted import LOSSCAST_OOD
from ncpl.errors import ConfigError

Array = npt.NDArray[np.float64]
FORMAT = "ncpl-losscast/1"
DELTA = 0.01
EVERY = 500
"""Evaluation interval where a configuration names none, as their schema reads it."""
SEEN = "nanochat_"
"""Runs whose losses the community bundle learned from in part: scored apart."""
METRICS = ("huber", "r2", "mape", "curve_mae", "final_mae", "final_spearman")


@dataclass(frozen=True)
class LossCastRun:
    """One run of their validation split."""

    run_id: str
    config: Mapping[str, Any]
    """As their config.json says it."""
    losses: Mapping[int, float]
    """Measured, by step, nats."""

    @property
    def steps(self) -> list[int]:
        """Return the steps that a prediction has to answer at."""
        return eval_steps(self.config)


def eval_steps(config: Mapping[str, Any]) -> list[int]:
    """Return step 0, the multiples of the evaluation interval and the last step of a run.

    Raises ConfigError where the configuration names no length.
    """
    try:
        total, every = int(config["schedule"]["total_steps"]), int(config.get("eval_interval", 0))
    except (KeyError, TypeError, ValueError):
        raise ConfigError(
            f"{config.get('run_id', 'configuration')}: expected LossCast-Bench's RunConfig with "
            "schedule.total_steps; see its docs/data.md"
        ) from None
    return sorted({0, *range(every or EVERY, total + 1, every or EVERY), total})


def read_split(folder: Path, split: str = "val") -> list[LossCastRun]:
    """Return the runs of a split of a copy of their repository, by name.

    Raises ConfigError where the folder is no such copy, or a file of it is damaged.
    """
    where = folder / "data" / split
    files = sorted(where.glob("*/config.json"))
    if not files:
        raise ConfigError(
            f"{where} holds no runs; give a copy of LossCast-Bench: git clone "
            "https://github.com/dangxingyu/losscast-bench"
        )
    found = []
    for file in files:
        losses = file.with_name("losses.json")
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
            measured = json.loads(losses.read_text(encoding="utf-8"))
            by_step = {int(step): float(loss) for step, loss in measured.items()}
            found.append(LossCastRun(str(config["run_id"]), config, by_step))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{file.parent} is no run of LossCast-Bench ({error!r})") from error
    return found


def scores(runs: Sequence[LossCastRun], said: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:
    """Return their metrics of predictions by run and step; losses in nats."""
    from scipy.stats import spearmanr

    measured, predicted, ends = [], [], []
    for run in runs:
        steps = [step for step in run.steps if step in run.losses]
        measured += [run.losses[step] for step in steps]
        predicted += [said[run.run_id][step] for step in steps]
        if steps:
            ends.append(len(measured) - 1)
    truth, told = np.array(measured), np.array(predicted)
    off = np.abs(told - truth)
    last = np.array(ends)
    huber = np.where(off <= DELTA, off**2 / 2, DELTA * (off - DELTA / 2))
    spread = float(np.square(truth - truth.mean()).sum())
    return {
        "runs": len(ends), "points": len(truth), "huber": float(huber.mean()),
        "r2": 1 - float(np.square(off).sum()) / spread if spread else 0.0,
        "mape": float((off / truth).mean()), "curve_mae": float(off.mean()),
        "final_mae": float(off[last].mean()),
        "final_spearman": float(spearmanr(told[last], truth[last])[0]) if len(last) > 1 else None,
    }  # fmt: skip


def run_losscast(
    runs: Sequence[LossCastRun],
    predict: Callable[[Mapping[str, Any]], Mapping[int, float]],
    *,
    tell: Callable[[int], None] = lambda _done: None,
) -> tuple[dict[str, dict[int, float]], list[dict[str, Any]]]:
    """Return predictions by run and step, and a row of scores for each part of the runs."""
    said: dict[str, dict[int, float]] = {}
    for done, run in enumerate(runs, start=1):
        said[run.run_id] = dict(predict(run.config))
        if done % 100 == 0 or done == len(runs):
            tell(done)
    seed = [run for run in runs if not run.run_id.startswith(SEEN)]
    parts = {
        "NCPL-OOD": seed,
        "of these Marin": [run for run in seed if run.run_id.startswith("ncpl_marin_")],
        "of these StepLaw": [run for run in seed if run.run_id.startswith("ncpl_steplaw_")],
        "of these, step 0 left out": [
            LossCastRun(r.run_id, r.config, {s: v for s, v in r.losses.items() if s}) for r in seed
        ],
        "nanochat, partly seen in training": [r for r in runs if r.run_id.startswith(SEEN)],
    }
    return said, [{"part": name} | scores(own, said) for name, own in parts.items() if own]


def submission(said: Mapping[str, Mapping[int, float]]) -> str:
    """Return predictions as their scorer reads them."""
    entries = [
        {"run_id": name, "predictions": {str(step): round(v, 6) for step, v in steps.items()}}
        for name, steps in said.items()
    ]
    return json.dumps({"runs": entries}, indent=1) + "\n"


PREDICTOR = '''"""What LossCast-Bench asks a submission for: predict(config) -> {step: loss}.

Needs the package ncpl-data and the weights that it ships; nothing is fetched.
"""

from ncpl.bench.losscast_predictor import predict as at_steps


def predict(config: dict) -> dict:
    """Return the loss in nats at every evaluation step, by step as text."""
    return {str(step): loss for step, loss in at_steps(config).items()}
'''


def as_json(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return our rows and theirs."""
    quoted = [vars(row) for row in LOSSCAST_OOD]
    return {"format": FORMAT, **about, "rows": list(rows), "quoted": quoted}


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return our rows beside those that their README gives, as text."""
    lines = [
        "LossCast-Bench, validation split, their rules: Huber loss bent at .01 over all points",
        "",
        "| method | runs | points | Huber | R2 | MAPE | curve MAE | final MAE | final rho |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rho = row["final_spearman"]
        lines.append(
            f"| NCPL, {row['part']} | {row['runs']:,} | {row['points']:,} | {row['huber']:.6f} | "
            f"{row['r2']:.4f} | {100 * row['mape']:.2f}% | {row['curve_mae']:.4f} | "
            f"{row['final_mae']:.4f} | {'-' if rho is None else f'{rho:.3f}'} |"
        )
    lines += [
        f"| {q.method}, quoted | 1,109 | - | {q.huber:.6f} | {q.r2:.2f} | {100 * q.mape:.2f}% | "
        f"{q.curve_mae:.4f} | {q.final_mae:.4f} | {q.final_spearman:.3f} |"
        for q in LOSSCAST_OOD
    ]
    lines += ["", f"Quoted rows: {LOSSCAST_OOD[0].where}; on their NCPL-OOD part."]
    return "\n".join(lines) + "\n"
