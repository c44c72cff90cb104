"""A snapshot folder as runs, splits and curves, read by its documented format."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ncpl.data.fields import FIELDS, derive
from ncpl.data.schedules import Schedules
from ncpl.data.sizes import is_mixture
from ncpl.data.unread import SILENT
from ncpl.errors import SnapshotError

FORMAT = "ncpl-snapshot/1"
WHOLE = 0.995
"""Share of the run from which a loss counts as the final one: logs name the last step, or the one
before."""
SETTLED_RATE = 0.01
"""Learning rate, as a share of its peak, below which a loss hardly changes any more."""
Measured = dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
"""Run id -> (steps, values), in order."""
Family = tuple[str, str, str, str, str]
FAMILY_FIELDS = ("source", "final_loss_metric", "dataset", "tokenizer", "final_loss_unit")
"""Losses are comparable only between runs that agree in these; see `families_of`."""


@dataclass(frozen=True)
class Runs:
    """Rows of one table, one a run, in the order of the files."""

    run_ids: list[str]
    configs: list[dict[str, Any]]
    """Known fields that are not null, by name."""
    loss: npt.NDArray[np.float64]
    """Final loss, nats per token; NaN where the source gives none."""
    status: list[str | None]
    family: list[Family]
    split: list[str | None]
    """train, id, ood, or None for a run outside the split."""
    group: list[str | None]
    """Group of the split: optimizer/N/D."""
    share: npt.NDArray[np.float64]
    """Share of the run at which its final loss was measured; 1 where the source does not say."""

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.run_ids)

    def take(self, keep: npt.NDArray[np.bool_]) -> Runs:
        """Return the runs where `keep` is true."""
        at = np.flatnonzero(keep)
        return Runs(
            [self.run_ids[i] for i in at],
            [self.configs[i] for i in at],
            self.loss[at],
            [self.status[i] for i in at],
            [self.family[i] for i in at],
            [self.split[i] for i in at],
            [self.group[i] for i in at],
            self.share[at],
        )

    def where(self, *, family: Family | None = None, split: str | None = None) -> Runs:
        """Return the runs of a family and a split that have a loss."""
        keep = np.isfinite(self.loss)
        if family is not None:
            keep &= np.array([f == family for f in self.family], dtype=bool)
        if split is not None:
            keep &= np.array([s == split for s in self.split], dtype=bool)
        return self.take(keep)

    def readable(self) -> Runs:
        """Return the runs that a model of dense runs can read: with a size and tokens, no experts.

        Sources state more than a model reads: total parameters, a mixture of experts.
        """
        rows = map(derive, self.configs)
        is_read = [
            bool(row.get("params_non_embedding") and row.get("data_tokens")) and not is_mixture(row)
            for row in rows
        ]
        return self.take(np.array(is_read, dtype=bool))

    def finished(self) -> Runs:
        """Return the runs whose loss is that of the whole run, not of where their log stops.

        A log may lack its last evaluation where the learning rate has come down: that changes the
        loss by less than a thousandth. Where it has not, the loss was still falling.
        """
        whole = np.array([status != "truncated" for status in self.status], dtype=bool)
        early = np.flatnonzero(whole & (self.share < WHOLE))
        if len(early):
            schedules = Schedules.of([derive(self.configs[i]) for i in early])
            whole[early] = schedules.rate(self.share[early, None])[:, 0] < SETTLED_RATE
        return self.take(whole)

    def diverged_beside(self, train: Runs, *, held_out: bool = False) -> Runs:
        """Return the runs of the training runs' family that diverged, for a risk of divergence.

        They are in no part of the split; those of a held-out (optimizer, N, D) or of a model larger
        than any training run count as held out, and are returned only with `held_out`.
        """
        family = train.family[0]
        rows = [derive(config) for config in self.configs]
        groups = [_group(row) for row in rows]
        tested = {g for g, split in zip(self.group, self.split, strict=True) if split != "train"}
        largest = max(derive(config)["params_non_embedding"] for config in train.configs)
        keep = np.zeros(len(self), dtype=bool)
        for i, row in enumerate(rows):
            if self.status[i] == "diverged" and self.family[i] == family and groups[i]:
                unseen = groups[i] in tested or row["params_non_embedding"] > largest
                keep[i] = unseen == held_out
        return self.take(keep)

    def families(self, *, with_unsplit: bool = False) -> list[Family]:
        """Return the comparable-loss families, the largest first.

        Those with no run in the split are left out, or come last.
        """
        counts: dict[Family, int] = {}
        for family, split in zip(self.family, self.split, strict=True):
            if split is not None or with_unsplit:
                counts[family] = counts.get(family, 0) + (split is not None)
        return sorted(counts, key=lambda f: (-counts[f], f))


@dataclass(frozen=True)
class Points:
    """Measured losses along B runs, at most P a run; NaN fills the rest of a row."""

    frac: npt.NDArray[np.float64]
    """(B, P) share of the run."""
    loss: npt.NDArray[np.float64]
    """(B, P) nats per token, in the metric of the final loss."""

    def take(self, keep: npt.NDArray[np.bool_]) -> Points:
        """Return the points of the runs where `keep` is true."""
        return Points(self.frac[keep], self.loss[keep])


@dataclass(frozen=True)
class Snapshot:
    """An opened snapshot folder."""

    path: Path
    manifest: dict[str, Any]

    @property
    def id(self) -> str:
        """Return the content id."""
        return str(self.manifest["id"])

    @property
    def policy(self) -> str:
        """Return the name of the split, with its argument: ncpl, compute:1e20."""
        return str((self.manifest.get("selection") or {}).get("policy") or "unknown")

    @classmethod
    def open(cls, path: Path) -> Snapshot:
        """Return the snapshot in a folder, its manifest checked.

        Raises SnapshotError if there is none, the format is another one or a table is missing.
        """
        file = path / "manifest.json"
        if not file.is_file():
            raise SnapshotError(
                f"{path} holds no snapshot (no manifest.json); take one: ncpl-data snapshot"
            )
        try:
            manifest = json.loads(file.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise SnapshotError(
                f"{file} is not JSON ({error}); take the snapshot again: ncpl-data snapshot"
            ) from error
        found = manifest.get("format") if isinstance(manifest, dict) else None
        if found != FORMAT:
            raise SnapshotError(
                f"{file}: format is {found!r}, expected {FORMAT!r}; take the snapshot again: "
                "ncpl-data snapshot"
            )
        tables = manifest.get("tables", {})
        for name in ("runs", "splits"):
            if not tables.get(name):
                raise SnapshotError(f"{file}: lists no files of the table {name!r}")
        return cls(path, manifest)

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table | None:
        """Return a whole table, or None when the snapshot has none of that name.

        Raises SnapshotError when a file is missing or differs from its hash in the manifest.
        """
        entries = self.manifest["tables"].get(name) or []
        parts = [self._part(entry, columns) for entry in entries]
        return pa.concat_tables(parts, promote_options="permissive") if parts else None

    def _part(self, entry: dict[str, Any], columns: list[str] | None) -> pa.Table:
        file = self.path / entry["path"]
        again = "restore it or take the snapshot again: ncpl-data snapshot"
        if not file.resolve().is_relative_to(self.path.resolve()):
            raise SnapshotError(f"{self.path}: the manifest names {entry['path']}, outside it")
        if not file.is_file():
            raise SnapshotError(f"{file} is missing; {again}")
        expected = entry.get("sha256")
        if expected:
            found = hashlib.sha256(file.read_bytes()).hexdigest()
            if found != expected:
                raise SnapshotError(
                    f"{file} has sha256 {found[:12]}, the manifest says {expected[:12]}; {again}"
                )
        try:
            here = set(pq.read_schema(file).names)
            wanted = None if columns is None else [c for c in columns if c in here]
            return pq.read_table(file, columns=wanted)
        except pa.ArrowException as error:
            raise SnapshotError(f"{file} is not a Parquet file ({error}); {again}") from error

    def runs(self) -> Runs:
        """Return every run, with its place in the split."""
        measured = ("final_loss", "final_step")
        names = [*dict.fromkeys((*FIELDS, *SILENT, *FAMILY_FIELDS, *measured))]
        table = self.table("runs", names)
        splits = self.table("splits", ["run_id", "split", "split_group"])
        if table is None or splits is None or "final_loss" not in table.column_names:
            raise SnapshotError(f"{self.path}: the table runs has no column final_loss")
        place = {row["run_id"]: row for row in splits.to_pylist()}
        rows = table.to_pylist()
        known = {*FIELDS, *SILENT}
        share = [_share(row.get("final_step"), row.get("train_steps")) for row in rows]
        loss = np.array([np.nan if r["final_loss"] is None else r["final_loss"] for r in rows])
        return Runs(
            [row["run_id"] for row in rows],
            [{k: v for k, v in row.items() if k in known and v is not None} for row in rows],
            loss.astype(np.float64),
            [row.get("status") for row in rows],
            families_of(rows),
            [place.get(row["run_id"], {}).get("split") for row in rows],
            [place.get(row["run_id"], {}).get("split_group") for row in rows],
            np.array(share),
        )

    def curves(self, metric: str, source: str | None = None) -> Measured:
        """Return (steps, values) of every run that logged this metric, of one source if given."""
        table = self.table("curves", ["run_id", "metric", "step", "value"])
        if table is None:
            return {}
        keep = pc.equal(table["metric"], metric)
        if source is not None:
            keep = pc.and_(keep, pc.starts_with(table["run_id"], f"{source}/"))
        table = table.filter(keep).sort_by([("run_id", "ascending"), ("step", "ascending")])
        step = table["step"].to_numpy().astype(np.float64)
        value = table["value"].to_numpy()
        names, first = np.unique(table["run_id"].to_numpy(), return_index=True)
        edges = [*first.tolist(), len(table)]
        return {
            str(name): (step[a:b], value[a:b])
            for name, a, b in zip(names, edges[:-1], edges[1:], strict=True)
        }

    def points(self, runs: Runs, *, count: int = 29, first: float = 0.02) -> Points:
        """Return at most `count` points of each run's curve, evenly picked after the share `first`.

        Of the metric of the run's final loss only. The step after the last logged one counts as
        done: a run of 5,120 steps logs 5,119 last. 29 points a run are the paper's.
        """
        table = self.table("curves", ["run_id", "metric", "step", "value"])
        frac, loss = (np.full((len(runs), count), np.nan) for _ in range(2))
        if table is None or not len(runs):
            return Points(frac, loss)
        place = {run_id: i for i, run_id in enumerate(runs.run_ids)}
        wanted = pc.is_in(table["run_id"], pa.array(runs.run_ids))
        table = table.filter(wanted).sort_by([("run_id", "ascending"), ("step", "ascending")])
        ids = table["run_id"].combine_chunks().dictionary_encode()
        starts = np.flatnonzero(np.diff(ids.indices.to_numpy(), prepend=-1))
        ends = np.append(starts[1:], len(ids))[: len(starts)]  # no run of these may have a curve
        metrics = table["metric"].to_numpy()
        steps, values = (table[name].to_numpy() for name in ("step", "value"))
        for begin, end in zip(starts, ends, strict=True):
            row = place[ids[int(begin)].as_py()]
            length = derive(runs.configs[row]).get("train_steps")
            if not length:
                continue
            share = np.minimum((steps[begin:end] + 1) / length, 1.0)
            keep = (metrics[begin:end] == runs.family[row][1]) & (share > first)
            at = np.flatnonzero(keep)
            at = at[np.unique(np.linspace(0, len(at) - 1, min(count, len(at))).round().astype(int))]
            frac[row, : len(at)] = share[at]
            loss[row, : len(at)] = values[begin:end][at]
        return Points(frac, loss)


def sizes(runs: Runs) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return non-embedding parameters and tokens of every run; NaN where unknown."""
    rows = [derive(config) for config in runs.configs]
    params, tokens = (
        np.array([row.get(name) or np.nan for row in rows], dtype=np.float64)
        for name in ("params_non_embedding", "data_tokens")
    )
    return params, tokens


def _share(final_step: int | None, train_steps: int | None) -> float:
    return min(1.0, final_step / train_steps) if final_step and train_steps else 1.0


def _group(row: dict[str, Any]) -> str | None:
    """Return the group of the published split a derived configuration is in: optimizer/N/D."""
    size, data = row.get("params_non_embedding"), row.get("data_tokens")
    if not (size and data):
        return None
    return f"{row.get('optimizer')}/{round(size)}/{round(data)}"


def families_of(rows: list[dict[str, Any]]) -> list[Family]:
    """Return the comparable-loss family of each row.

    Where data and tokenizer are stated, runs that several sources carry are one family, under the
    name of the source with most of them; where they are not, each source is on its own.
    """
    keys = [tuple(str(row.get(f) or "") for f in FAMILY_FIELDS) for row in rows]
    counts = Counter(keys)
    name: dict[tuple[str, ...], str] = {}
    for source, *rest in sorted(counts, key=lambda k: (-counts[k], k)):
        name.setdefault(tuple(rest), source)
    families: list[Family] = []
    for source, metric, dataset, tokenizer, unit in keys:
        shared = name[metric, dataset, tokenizer, unit] if dataset and tokenizer else source
        families.append((shared, metric, dataset, tokenizer, unit))
    return families
