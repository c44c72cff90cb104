"""Mixtures of experts of a snapshot: their runs, which of them are held out, and dense ones beside.

Held out are the largest tokens of a source (where they do not vary, its largest active size), out
of distribution, and every sixth of the other groups beside them. Published splits hold dense runs
only, and say nothing of these.

Legend: B runs.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import derive
from ncpl.data.sizes import is_mixture
from ncpl.data.snapshot import Snapshot

DenseRun = tuple[float, float, float]
"""Size without embeddings, tokens and loss."""
EACH = 6
"""One group of so many is held out."""
ROUTER = ".router_type"
UNLEARNED = ("Hash",)
"""Routers that learn nothing: not what anybody trains, but a measure of how ways of routing
differ."""
USUAL_SHARE = 0.5
"""Share of layers with experts in nearly all runs that state one; others are left out."""


@dataclass(frozen=True)
class Mixtures:
    """B mixtures of one source, finished, in nats per token."""

    source: str
    rows: list[dict[str, Any]]
    loss: npt.NDArray[np.float64]
    router: list[str]
    split: list[str]
    """train, id or ood."""
    group: list[str]

    def take(self, keep: Any) -> Mixtures:
        """Return the runs where `keep` is true."""
        at = np.flatnonzero(keep).tolist()
        return Mixtures(
            self.source, [self.rows[i] for i in at], self.loss[at], [self.router[i] for i in at],
            [self.split[i] for i in at], [self.group[i] for i in at],
        )  # fmt: skip

    def where(self, split: str) -> Mixtures:
        """Return the runs of a part."""
        return self.take(np.array(self.split) == split)

    def learned(self) -> Mixtures:
        """Return the runs whose router learns."""
        return self.take(np.array([name not in UNLEARNED for name in self.router]))


def mixtures_in(snapshot: Snapshot) -> tuple[dict[str, Mixtures], dict[str, list[DenseRun]]]:
    """Return the mixtures of each source, and dense runs of the same sources.

    A mixture whose active parameters do not count the experts it uses is left out: those of one
    with several a token are those of one with a single one.
    """
    every = snapshot.runs()
    table = snapshot.table("runs", ["run_id", "params_active_non_embedding", "extra"])
    more = {row["run_id"]: row for row in ([] if table is None else table.to_pylist())}
    found: dict[str, list[tuple[dict[str, Any], float, str]]] = {}
    dense: dict[str, list[DenseRun]] = {}
    for run_id, config, loss, status, family in zip(
        every.run_ids, every.configs, every.loss.tolist(), every.status, every.family, strict=True
    ):
        extra = json.loads(more[run_id].get("extra") or "{}")
        usual = next((v for k, v in extra.items() if k.endswith(".routing_frequency")), USUAL_SHARE)
        row = derive(config)
        size, tokens = row.get("params_non_embedding"), row.get("data_tokens")
        whole = status not in ("truncated", "diverged", "failed") and np.isfinite(loss)
        if not whole or not size or not tokens or family[4] not in ("nats_per_token", ""):
            continue
        if not is_mixture(config):
            dense.setdefault(family[0], []).append((size, tokens, loss))
            continue
        row["params_active_non_embedding"] = more[run_id].get("params_active_non_embedding")
        if row["params_active_non_embedding"] and usual == USUAL_SHARE:
            router = next((str(v) for k, v in extra.items() if k.endswith(ROUTER)), "")
            found.setdefault(family[0], []).append((row, loss, router))
    own = {source: dense.get(source, []) for source in found}
    return {source: _mixtures(source, runs) for source, runs in found.items()}, own


def _mixtures(source: str, own: Sequence[tuple[dict[str, Any], float, str]]) -> Mixtures:
    single = {
        row["params_active_non_embedding"] for row, *_ in own if row.get("experts_per_token") == 1
    }
    kept = [
        one for one in own
        if one[0].get("experts_per_token") == 1
        or one[0]["params_active_non_embedding"] not in single
    ]  # fmt: skip
    rows = [row for row, *_ in kept]
    tokens = [nominal(row) for row in rows]
    sizes = [row["params_active_non_embedding"] for row in rows]
    largest = tokens if len(set(tokens)) > 1 else sizes
    split, groups = [], []
    for row, much, size in zip(rows, largest, sizes, strict=True):
        group = f"{size:g}/{row['n_experts']:g}/{row.get('experts_per_token')}/{nominal(row):g}"
        held = zlib.crc32(group.encode()) % EACH == 0
        split.append("ood" if much == max(largest) else "id" if held else "train")
        groups.append(group)
    loss = np.array([loss for _, loss, _ in kept])
    return Mixtures(source, rows, loss, [router for *_, router in kept], split, groups)


def nominal(row: dict[str, Any]) -> float:
    """Return the tokens a run was meant to have, so that runs of one group agree."""
    return float(row.get("nominal_train_tokens") or row["data_tokens"])
