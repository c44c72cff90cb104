"""Methods that join the board from outside: NCPL bundles, files of predictions, entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from ncpl.bench.learners import NotApplicableError, PredictedLosses, Predictor
from ncpl.bench.methods import Method
from ncpl.bench.part import Part
from ncpl.bench.tables import check_names
from ncpl.errors import ConfigError
from ncpl.model.predictor import Predictor as Bundle

Array = npt.NDArray[np.float64]
ENTRY_POINTS = "ncpl.predictors"
UNKNOWN = "not stated: joined from outside"


def read_predictions(file: Path) -> pa.Table:
    """Return a table of predictions: run_id, prediction, and low and high where there are any.

    Raises ConfigError when the file cannot be read, lacks a column, or names a run twice.
    """
    try:
        table = pq.read_table(file) if file.suffix == ".parquet" else pa.csv.read_csv(file)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{file} cannot be read as Parquet or CSV: {error}") from error
    check_names(file, table.column_names)
    for name in ("run_id", "prediction"):
        if name not in table.column_names:
            raise ConfigError(
                f"{file} has no column {name}; expected run_id, prediction (nats per token) and, "
                "for 90% intervals, low and high"
            )
    for name in ("prediction", "low", "high"):
        if name in table.column_names and not (
            pa.types.is_floating(table[name].type) or pa.types.is_integer(table[name].type)
        ):
            raise ConfigError(f"{file}: column {name} holds {table[name].type}, expected numbers")
    ids = table["run_id"].to_pylist()
    if len(set(ids)) < len(ids):
        twice = min(i for i in ids if ids.count(i) > 1)
        raise ConfigError(f"{file} names run {twice} more than once; keep one row a run")
    return table


def of_file(name: str, file: Path) -> Method:
    """Return the method whose predictions lie in a file; every run of a scored part must be there.

    Rows of the training part are not needed.
    """
    table = read_predictions(file)
    where = {run_id: i for i, run_id in enumerate(table["run_id"].to_pylist())}
    columns = {
        key: np.asarray(table[key].to_numpy(), dtype=np.float64)
        for key in ("prediction", "low", "high")
        if key in table.column_names
    }

    def fit(train: Part, seed: int) -> Predictor:
        del train, seed  # predictions are given

        def predict(part: Part) -> PredictedLosses:
            missing = [i for i in part.runs.run_ids if i not in where]
            if len(missing) == len(part):
                raise NotApplicableError("predicts no run of this part")
            if missing:
                raise ConfigError(
                    f"{file} has no prediction for {len(missing)} of {len(part)} runs, first "
                    f"{missing[0]}; a method is scored on all runs of a part or on none"
                )
            at = np.array([where[i] for i in part.runs.run_ids])
            values = {key: column[at] for key, column in columns.items()}
            if not all(np.isfinite(v).all() for v in values.values()):
                raise ConfigError(f"{file} holds a prediction that is not a number")
            return PredictedLosses(values["prediction"], values.get("low"), values.get("high"))

        return predict

    return Method(name, "joined", UNKNOWN, fit)


def of_bundle(name: str, bundle: Bundle) -> Method:
    """Return the method of a bundle of either kind."""

    def fit(train: Part, seed: int) -> Predictor:
        del seed  # the bundle is trained already
        family = train.runs.family[0]
        mine = [f for f in bundle.fits if f.family == family]
        if not mine:
            raise NotApplicableError(f"the bundle has no member for {family[0]}")

        def predict(part: Part) -> PredictedLosses:
            found = bundle.intervals(mine[0], part.runs.configs)
            return PredictedLosses(found.loss, found.low, found.high)

        return predict

    return Method(name, "ncpl", f"no: trained on snapshot {bundle.snapshot_id[:12]}", fit)


def installed() -> list[Method]:
    """Return the methods other packages offer under the entry point group `ncpl.predictors`.

    Each must load to a `Method`, or to a function without arguments that returns one.
    """
    found = []
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda p: p.name):
        loaded = point.load()
        method = loaded if isinstance(loaded, Method) else loaded()
        if not isinstance(method, Method):
            raise ConfigError(f"entry point {point.name} gives no ncpl.bench.methods.Method")
        found.append(method)
    return found
