"""A run as it is kept: one configuration, its outcome, its curves and evaluations."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from typing import Any, Self

from ncpl_data.catalog.canonical import canonical_json, canonical_row
from ncpl_data.catalog.curve import Curve, curve_document, curve_of
from ncpl_data.catalog.values import (
    cell,
    drop_none,
    finite,
    number_columns,
    plain,
    special_fields,
    typed,
)
from ncpl_data.schema.fields import fields_by_section, run_fields
from ncpl_data.schema.load import SCHEMA_VERSION

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """One downstream measurement of a run."""

    task: str
    kind: str
    value: float
    step: int | None = None
    n_shots: int | None = None
    stderr: float | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run. Meaning and unit of every field: schema/FIELDS.md.

    None means that the source does not say. Lists of objects are sequences of mappings with the
    keys of the schema; open objects (`extra`, `optimizer_extra`, `origins`, `raw_config`) are
    mappings.
    """

    run_id: str
    source: str
    schema_version: str = SCHEMA_VERSION
    source_run: str | None = None
    same_as: Sequence[str] | None = None
    parent_run_id: str | None = None
    branch_step: int | None = None
    initial_weights: str | None = None
    stage: str | None = None
    modality: str | None = None
    seed: int | None = None
    extra: Record | None = None

    model_family: str | None = None
    architecture: str | None = None
    n_layers: int | None = None
    n_encoder_layers: int | None = None
    n_decoder_layers: int | None = None
    d_model: int | None = None
    d_ff: int | None = None
    n_heads: int | None = None
    n_kv_heads: int | None = None
    head_dim: int | None = None
    attention: str | None = None
    vocab_size: int | None = None
    is_embedding_tied: bool | None = None
    activation: str | None = None
    is_ffn_gated: bool | None = None
    has_bias: bool | None = None
    norm: str | None = None
    position_encoding: str | None = None
    n_experts: int | None = None
    n_shared_experts: int | None = None
    experts_per_token: int | None = None
    d_ff_expert: int | None = None
    d_ff_shared_expert: int | None = None
    n_dense_layers: int | None = None
    n_recurrent_steps: int | None = None
    n_parallel_streams: int | None = None
    params_total: int | None = None
    params_active: int | None = None
    params_non_embedding: int | None = None
    params_active_non_embedding: int | None = None
    parametrization: str | None = None
    init_std: float | None = None
    dropout: float | None = None
    weight_bits: float | None = None
    activation_bits: float | None = None

    optimizer: str | None = None
    learning_rate: float | None = None
    learning_rate_groups: Sequence[Record] | None = None
    weight_decay: float | None = None
    adam_beta1: float | None = None
    adam_beta2: float | None = None
    adam_epsilon: float | None = None
    momentum: float | None = None
    is_nesterov: bool | None = None
    grad_clip_norm: float | None = None
    optimizer_extra: Record | None = None

    schedule: str | None = None
    warmup_steps: int | None = None
    decay_steps: int | None = None
    min_learning_rate: float | None = None
    train_steps: int | None = None
    batch_size_sequences: int | None = None
    sequence_length: int | None = None
    train_tokens: int | None = None
    nominal_train_tokens: int | None = None
    learning_rate_knots: Sequence[Record] | None = None
    batch_ramp: Sequence[Record] | None = None

    dataset: str | None = None
    dataset_revision: str | None = None
    tokenizer: str | None = None
    bytes_per_token: float | None = None
    unique_tokens: int | None = None
    epochs: float | None = None
    filter: str | None = None
    mixture: Sequence[Record] | None = None
    perturbations: Sequence[Record] | None = None

    precision: str | None = None
    accelerator: str | None = None
    n_devices: int | None = None
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    tokens_per_second: float | None = None
    mfu_frac: float | None = None
    step_time_seconds: float | None = None
    wall_time_seconds: float | None = None
    train_flops: float | None = None
    framework: str | None = None
    code_revision: str | None = None

    status: str | None = None
    final_loss: float | None = None
    final_loss_metric: str | None = None
    final_loss_unit: str | None = None
    loss_family: str | None = None
    final_step: int | None = None
    metrics: Sequence[Record] | None = None

    licence: str | None = None
    citation: str | None = None
    url: str | None = None
    revision: str | None = None
    file: str | None = None
    file_sha256: str | None = None
    record: str | None = None
    is_copy: bool | None = None
    contributor: str | None = None
    notes: str | None = None
    flags: Sequence[str] | None = None
    origins: Record | None = None
    raw_config: Record | None = None

    curves: Sequence[Curve] = field(default=(), compare=False)
    evals: Sequence[Evaluation] = ()

    def stated(self) -> dict[str, Any]:
        """Return what the run says, by column, as it stands in the table `runs`.

        Open objects are canonical JSON. Raises ValueError for a number that is not finite.
        """
        found = {column: value for column, value in vars(self).items() if value is not None}
        found.pop("curves", None)
        found.pop("evals", None)
        found.setdefault("schema_version", SCHEMA_VERSION)
        for f in special_fields():
            if f.column in found:
                found[f.column] = cell(f, found[f.column])
        for column in number_columns():
            value = found.get(column)
            if value is not None and not (type(value) is float and isfinite(value)):
                found[column] = finite(column, value)
        return found

    def row(self) -> dict[str, Any]:
        """Return the row of the table `runs`: every column, open objects as canonical JSON."""
        stated = self.stated()
        return {f.column: stated.get(f.column) for f in run_fields()}

    def with_values(self, **values: Any) -> Self:
        """Return a run with other values; quicker than `dataclasses.replace`."""
        if not values.keys() <= ALL_NAMES:
            raise TypeError(f"Run has no field {', '.join(values.keys() - ALL_NAMES)}")
        changed = object.__new__(type(self))
        vars(changed).update(vars(self), **values)
        return changed

    def content_hash(self, row: Record | None = None) -> str:
        """Return the SHA-256 of everything the run says, in hexadecimal.

        It does not depend on the order of keys, curves or evaluations, nor on Arrow's encoding,
        so equal content has equal hashes on any machine. `row` is the run's row, if it is at hand.
        """
        values = self.stated() if row is None else drop_none(row)
        digest = hashlib.sha256(canonical_row(values))
        curves = self.curves
        for curve in sorted(curves, key=lambda c: c.metric) if len(curves) > 1 else curves:
            curve.update(digest)
        if not self.evals:
            digest.update(b"[]")
            return digest.hexdigest()
        evals = sorted(canonical_json(drop_none(asdict(e))) for e in self.evals)
        digest.update(canonical_json(evals).encode())
        return digest.hexdigest()

    def to_document(self) -> dict[str, Any]:
        """Return the run as a document of the schema, without nulls."""
        document: dict[str, Any] = {}
        for f in run_fields():
            value = getattr(self, f.column)
            if value is None:
                continue
            place = document
            for key in f.path[:-1]:
                place = place.setdefault(key, {})
            place[f.path[-1]] = dict(value) if f.kind == "json" else plain(value)
        if self.curves:
            document["curves"] = [curve_document(c) for c in self.curves]
        if self.evals:
            document["evals"] = [drop_none(asdict(e)) for e in self.evals]
        return document

    @classmethod
    def from_document(cls, document: Record) -> Self:
        """Return the run of a valid document. Curves must be inline."""
        values: dict[str, Any] = {}
        for section, by_name in fields_by_section().items():
            place = document.get(section) if section else document
            for name, value in (place or {}).items():
                f = by_name.get(name)
                if f is not None and value is not None:
                    values[f.column] = typed(f, value)
        curves = tuple(curve_of(c) for c in document.get("curves") or ())
        evals = tuple(evaluation(e) for e in document.get("evals") or ())
        return cls(**values, curves=curves, evals=evals)

    @classmethod
    def from_row(cls, row: Record, curves: Sequence[Curve], evals: Sequence[Evaluation]) -> Self:
        """Return the run of a row of the table `runs` and what belongs to it."""
        values: dict[str, Any] = {}
        for f in run_fields():
            value = row[f.column]
            if value is None:
                continue
            if f.kind == "json":
                value = json.loads(value)
            elif f.kind == "records":
                value = tuple(drop_none(item) for item in value)
            elif f.kind == "strings":
                value = tuple(value)
            values[f.column] = value
        return cls(**values, curves=tuple(curves), evals=tuple(evals))


def set_stated(self: Run, /, **values: Any) -> None:
    """Set the fields that are named; the others are None, as the class says.

    The method that dataclasses make sets each of a hundred fields, whether named or not; of the
    time to read a source that was a tenth.
    """
    if not values.keys() <= ALL_NAMES or not values.keys() >= NEEDED_NAMES:
        wrong = (values.keys() - ALL_NAMES) | (NEEDED_NAMES - values.keys())
        raise TypeError(f"Run: unknown or missing: {', '.join(sorted(wrong))}")
    vars(self).update(values)


ALL_NAMES = frozenset(f.name for f in fields(Run))
NEEDED_NAMES = frozenset(("run_id", "source"))

Run.__init__ = set_stated  # type: ignore[assignment]


@dataclass(frozen=True)
class Skipped:
    """A record that was read and refused. It is kept, with the reason, in the table `rejects`."""

    ref: str
    """What names the record inside its source: a run name, or file and line."""
    reason: str
    """Short and countable, such as "crashed"."""
    payload: Record | None = None
    """The record as it was read."""
    detail: str | None = None


def evaluation(document: Record) -> Evaluation:
    """Return an evaluation of a valid document: 1 is 1.0 where a number is meant."""
    kinds = {"value": float, "stderr": float, "step": int, "n_shots": int}
    return Evaluation(**{k: kinds.get(k, str)(v) for k, v in drop_none(document).items()})


def field_names() -> set[str]:
    """Return the names of the fields of `Run` that are columns."""
    return {f.name for f in fields(Run)} - {"curves", "evals"}
