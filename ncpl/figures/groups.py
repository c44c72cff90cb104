"""Groups of runs (optimizer, N, D) as figures show them, and lines of predictions through them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import derive
from ncpl.data.snapshot import Runs
from ncpl.errors import NcplError
from ncpl.model.intervals import Intervals
from ncpl.model.predictor import FamilyModel, Predictor

Array = npt.NDArray[np.float64]
PLANE = ("learning_rate", "batch_size_sequences")
FOLLOWS_BATCH = ("train_steps", "train_tokens", "decay_steps", "batch_tokens")


@dataclass(frozen=True)
class Group:
    """Runs of one group that differ in learning rate and batch size only, as far as a fit reads."""

    fit: FamilyModel
    split: str
    name: str
    base: dict[str, Any]
    """What they have in common."""
    rate: Array
    batch: Array
    """Sequences."""
    loss: Array
    """Nats per token."""
    others: int
    """Runs of the group that differ in another field and are left out."""
    decay_frac: float | None = None
    """Share of the run that decays, where the runs state it in steps."""

    @property
    def row(self) -> dict[str, Any]:
        """Return the derived configuration of the first run."""
        return derive(self.base | {PLANE[0]: self.rate[0], PLANE[1]: self.batch[0]})

    @property
    def places(self) -> int:
        """Return the number of different pairs of learning rate and batch size."""
        return len(set(zip(self.rate.tolist(), self.batch.tolist(), strict=True)))

    def predict(
        self, bundle: Predictor, rates: Sequence[float] | Array, batches: Sequence[float] | Array
    ) -> Intervals:
        """Return predictions at pairs of learning rate and batch size."""
        configs = []
        for rate, batch in zip(rates, batches, strict=True):
            config = self.base | {PLANE[0]: float(rate), PLANE[1]: float(batch)}
            if self.decay_frac is not None:  # the same share of a run of another length
                steps = config["train_tokens"] / (float(batch) * config["sequence_length"])
                config["decay_steps"] = self.decay_frac * steps
            configs.append(config)
        return bundle.intervals(self.fit, configs)


def find_groups(
    bundle: Predictor,
    runs: Runs,
    *,
    count: int,
    source: str | None = None,
    splits: Sequence[str] = ("id", "ood"),
    names: Sequence[str] = (),
) -> list[Group]:
    """Return the groups asked for by name, else those with the most points, split by split.

    Raises NcplError when the snapshot has none to show.
    """
    found: list[Group] = []
    for fit in bundle.fits:
        if source not in (None, fit.family[0]):
            continue
        for split in splits if not names else ("train", "id", "ood"):
            part = runs.where(family=fit.family, split=split).readable()
            own = [group for group in _groups(fit, split, part) if len(group.loss) >= 5]
            if names:
                found += [group for group in own if group.name in names]
            else:
                own.sort(key=lambda group: (-group.places, -len(group.loss), group.name))
                found += own[: max(1, count // len(splits))]
        if source is None and found:
            break  # one source a figure: losses of two are not on one scale
    if not found:
        asked = f" named {', '.join(names)}" if names else ""
        raise NcplError(
            f"the snapshot has no group of 5 runs{asked} that differ in learning rate and batch "
            "size; groups are named optimizer/N/D, see: ncpl eval --cells"
        )
    return found[:count] if not names else found


def _groups(fit: FamilyModel, split: str, part: Runs) -> list[Group]:
    read = [n for n in fit.fields if n not in (*PLANE, *FOLLOWS_BATCH)]
    names = np.array([group or "" for group in part.group])
    found = []
    for name in sorted(set(names.tolist()) - {""}):
        rows = np.flatnonzero(names == name)
        rows = np.array([i for i in rows if all(part.configs[i].get(f) for f in PLANE)], dtype=int)
        if not len(rows):
            continue
        keys = [tuple(part.configs[i].get(f) for f in read) for i in rows]
        common = Counter(keys).most_common(1)[0][0]
        same = np.array([key == common for key in keys])
        own = rows[same]
        first = part.configs[own[0]]
        base = {k: v for k, v in first.items() if k not in (*PLANE, *FOLLOWS_BATCH)}
        base["train_tokens"] = _tokens(first)
        rate, batch = (np.array([part.configs[i][f] for i in own], float) for f in PLANE)
        loss, others = part.loss[own], int((~same).sum())
        found.append(Group(fit, split, name, base, rate, batch, loss, others, _decay(first)))
    return found


def _decay(config: Mapping[str, Any]) -> float | None:
    steps = derive(config).get("train_steps")
    if not steps or config.get("decay_steps") is None or not config.get("sequence_length"):
        return None
    return float(config["decay_steps"] / steps)


def _tokens(config: Mapping[str, Any]) -> float:
    tokens = derive(config)["data_tokens"]
    return float(tokens)
