"""A fitted relation of loss to tasks as one JSON file, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.downstream.audit import Audit, audit
from ncpl.downstream.estimate import NORMAL_90
from ncpl.downstream.hierarchy import FEWEST_RESULTS, Basis, Hierarchy, HierarchyFit
from ncpl.downstream.table import FEWEST_MODELS, TaskTable
from ncpl.downstream.tasks import Task, choose
from ncpl.errors import BundleError, ConfigError

FORMAT = "ncpl-downstream/1"
SHIPPED = ("marin",)


@dataclass(frozen=True)
class Relation:
    """What losses of one source say of its tasks."""

    source: str
    snapshot: str
    loss_metric: str
    """The loss it reads, nats per token; the words of the source."""
    loss_range: tuple[float, float]
    tasks: tuple[Task, ...]
    audits: tuple[Audit, ...]
    fit: HierarchyFit
    n_models: int

    def answer(
        self, loss: float, loss_sd: float, wanted: list[str], family: str = ""
    ) -> list[dict[str, Any]]:
        """Return one row a task: value, 90% interval, or the reason why there is no number.

        `loss_sd` is the standard deviation of the loss; its part of the error is taken from the
        values at the loss one standard deviation lower and higher. Raises ConfigError for an
        unknown task.
        """
        at = [i for word in wanted for i in choose(word, list(self.tasks))] if wanted else [
            *range(len(self.tasks))
        ]  # fmt: skip
        table = self.table_at([loss, loss - loss_sd, loss + loss_sd], family)
        said = self.fit.predict(table)
        moved = (said.value[1] - said.value[2]) / 2
        sd = np.hypot(said.sd[0], moved)
        rows = []
        for i in dict.fromkeys(at):
            task, verdict = self.tasks[i], self.audits[i].verdict
            row: dict[str, Any] = {"task": task.name, "kind": task.kind, "n_shots": task.n_shots,
                                   "chance": task.chance, "verdict": verdict}  # fmt: skip
            if self.audits[i].is_predictable:
                middle = float(said.value[0, i])
                low, high = middle - NORMAL_90 * sd[i], middle + NORMAL_90 * sd[i]
                row |= {"value": middle, "low": max(0.0, float(low)), "high": min(1.0, float(high))}
                row["emerged"] = middle > task.emerged_above()
            rows.append(row)
        return rows

    def table_at(self, losses: list[float], family: str) -> TaskTable:
        """Return a table of models with these losses and nothing else known.

        What the other losses would say beside the main one is taken as its mean.
        """
        basis, n = self.fit.basis, len(losses)
        main = np.array(losses)
        z = (main - basis.mean[0]) / basis.spread[0]
        given = {
            name: basis.mean[k] + basis.spread[k] * basis.share[k] * z
            for k, name in enumerate(basis.names)
        }
        nothing = np.full(n, np.nan)
        return TaskTable(
            self.source, [""] * n, [family] * n, nothing, nothing, given, list(self.tasks),
            np.full((n, len(self.tasks)), np.nan),
        )  # fmt: skip

    def notes(self, loss: float) -> list[str]:
        """Return what a reader must know of an answer at this loss."""
        low, high = self.loss_range
        notes = [f"tasks of {self.source}'s models over its loss {self.loss_metric}"]
        if not low <= loss <= high:
            notes.append(
                f"the loss {loss:.3f} lies outside the {self.n_models} models' {low:.3f} to "
                f"{high:.3f}; intervals are widened by how far"
            )
        return notes

    def to_json(self) -> dict[str, Any]:
        """Return the relation as plain values."""
        basis = self.fit.basis
        return {
            "format": FORMAT,
            "source": self.source,
            "snapshot": self.snapshot,
            "loss_metric": self.loss_metric,
            "loss_range": list(self.loss_range),
            "n_models": self.n_models,
            "tasks": [
                {"name": t.name, "kind": t.kind, "chance": t.chance, "n_examples": t.n_examples,
                 "n_shots": t.n_shots} for t in self.tasks
            ],
            "audits": [a.to_json() for a in self.audits],
            "basis": {
                "names": list(basis.names), "families": list(basis.families),
                "mean": basis.mean.tolist(), "spread": basis.spread.tolist(),
                "share": basis.share.tolist(),
                "beside": None if basis.beside is None else basis.beside.tolist(),
            },
            "coefficients": self.fit.coefficients.tolist(),
            "covariance": self.fit.covariance.tolist(),
            "noise": self.fit.noise.tolist(),
            "lowest": self.fit.lowest,
            "widening": list(self.fit.widening),
        }  # fmt: skip

    @classmethod
    def from_json(cls, found: Mapping[str, Any], name: str) -> Relation:
        """Return the relation of a file's content; raises BundleError if it is none."""
        if found.get("format") != FORMAT:
            raise BundleError(
                f"{name} is no fitted relation (format {found.get('format')!r}, expected "
                f"{FORMAT!r}); make one: ncpl downstream fit --snapshot latest --out {name}"
            )
        try:
            basis = found["basis"]
            beside = None if basis["beside"] is None else np.array(basis["beside"])
            fit = HierarchyFit(
                Basis(np.array(basis["mean"]), np.array(basis["spread"]), np.array(basis["share"]),
                      beside, tuple(basis["families"]), tuple(basis["names"])),
                np.array(found["coefficients"]), np.array(found["covariance"]),
                np.array(found["noise"]), float(found["lowest"]),
                (float(found["widening"][0]), float(found["widening"][1])),
            )  # fmt: skip
            return cls(
                found["source"], found["snapshot"], found["loss_metric"],
                (float(found["loss_range"][0]), float(found["loss_range"][1])),
                tuple(Task(**task) for task in found["tasks"]),
                tuple(Audit(**row) for row in found["audits"]), fit, int(found["n_models"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise BundleError(
                f"{name} is damaged ({type(error).__name__}: {error}); make it again: "
                f"ncpl downstream fit --snapshot latest --out {name}"
            ) from error


def relate(table: TaskTable, snapshot: str = "") -> Relation:
    """Return the relation fitted to a table's tasks in [0, 1].

    Raises ConfigError for fewer than three models, or where no model has a loss.
    """
    shares = table.shares()
    known = np.isfinite(shares.loss) & np.isfinite(shares.values).any(axis=1)
    if known.sum() < FEWEST_MODELS:
        raise ConfigError(
            f"{table.name}: {known.sum()} models have a loss and a task result; expected at least "
            f"{FEWEST_MODELS}"
        )
    shares = shares.take(known)
    scored = np.isfinite(shares.values).sum(axis=0) >= FEWEST_RESULTS
    shares = shares.only(np.flatnonzero(scored).tolist())
    if not shares.tasks:
        raise ConfigError(
            f"{table.name}: no task is scored on {FEWEST_RESULTS} models or more with a loss"
        )
    return Relation(
        table.name, snapshot, next(iter(shares.losses)),
        (float(shares.loss.min()), float(shares.loss.max())),
        tuple(shares.tasks), tuple(audit(shares)), Hierarchy().fit(shares), len(shares),
    )  # fmt: skip


def read_relation(path: Path | None, source: str | None = None) -> Relation:
    """Return the relation of a file, or the shipped one of a source.

    Raises BundleError or ConfigError if there is none.
    """
    if path is not None:
        try:
            return Relation.from_json(json.loads(path.read_bytes()), str(path))
        except (OSError, ValueError) as error:
            if isinstance(error, BundleError):
                raise
            raise BundleError(
                f"{path} can not be read ({error}); make it again: ncpl downstream fit "
                f"--snapshot latest --out {path}"
            ) from error
    name = source or SHIPPED[0]
    if name not in SHIPPED:
        raise ConfigError(
            f"no relation of loss to tasks ships for {name!r}; shipped: {', '.join(SHIPPED)}. Fit "
            "yours: ncpl downstream fit --snapshot latest --source NAME --out tasks.json"
        )
    file = files("ncpl.downstream") / f"{name}.json"
    return Relation.from_json(json.loads(file.read_text("utf-8")), f"{name}.json")
