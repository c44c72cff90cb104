"""Marin optimizer study: eleven optimizers, four sizes, full configurations and final losses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.base import Origin, RawFile, Source, repaired
from ncpl_data.ingest.packed import read_packed
from ncpl_data.ingest.studies import marin as study
from ncpl_data.ingest.studies import wandb_runs
from ncpl_data.ingest.studies.marin_run import (
    CITATION,
    CURVES_FILE,
    LOGGED,
    MAX_LOSS,
    NAME,
    URL,
    Row,
    build,
    required,
)

REVISION = "97cfef3590679c41908f5b9432d853b0228aac8c"
TITLE = "final losses of 2,042 named runs and 123 evaluation curves, gathered from the result files"

RUNS_FILE, SPLIT_FILE = "runs.jsonl", "marin_keys_model_split.json"

DIGEST_ORIGIN = {"kind": "derived", "rule": "the only run name whose digest fits the configuration"}

UNSWEPT_COLUMNS = {"max_grad_norm": "grad_clip_norm", "min_lr_ratio": "min_learning_rate"}
UNSWEPT_ORIGIN = {
    "kind": "derived",
    "rule": "the launcher's value of a key the configuration leaves out; the digest in the run's "
    "name agrees",
}


def read_shipped(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the runs of the shipped form: both files in one."""
    contents = read_packed(files["marin.parquet"], NAME)
    return read(contents[RUNS_FILE], contents[CURVES_FILE], files[SPLIT_FILE].read_bytes())


def read_lines(files: Mapping[str, Path]) -> Iterator[Run | Skipped]:
    """Yield the runs of the two files of JSON lines."""
    return read(*(files[name].read_bytes() for name in (RUNS_FILE, CURVES_FILE, SPLIT_FILE)))


def read(runs: bytes, curves: bytes, split: bytes) -> Iterator[Run | Skipped]:
    """Yield one run a line, in file order, then the runs of which only the curve is known."""
    rows = [row for _, row in json_lines(runs, RUNS_FILE)]
    lines = list(json_lines(curves, CURVES_FILE))
    named = [name for names in json.loads(split).values() for name in names]
    owners = {line: curve_owner(row, rows, named) for line, row in lines}
    by_run = {owners[line]: row for line, row in lines}
    holders = {group_loss(row): row["wandb_id"] for row in rows if not row.get("ambiguous")}
    for row in rows:
        twin = holders.get(group_loss(row)) if row.get("ambiguous") else None
        yield named_run(row, by_run.get(row["wandb_id"]), twin)
    known = {row["wandb_id"] for row in rows}
    for line, row in lines:
        if owners[line] not in known:
            yield curve_run(row, owners[line], line)


def json_lines(content: bytes, file: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a file of JSON lines.

    Raises RawFileError for a line that is not a JSON object.
    """
    for number, line in enumerate(content.splitlines(), 1):
        try:
            value = json.loads(line)
        except ValueError as error:
            value = error
        if not isinstance(value, dict):
            raise RawFileError(
                f"{NAME} {file} line {number}: found {line[:60]!r}, expected a JSON object; the "
                "file is cut off or altered. Take it again, or use the shipped copy",
                source=NAME,
                file=file,
                line=number,
            )
        yield number, value


def curve_owner(row: Row, rows: Sequence[Row], named: Sequence[str]) -> str | None:
    """Return the name of the run a curve belongs to; the file of curves has no names.

    Of the runs of the same optimizer, size and budget whose digest fits the curve's
    configuration, the one that ends at the same loss; of two such (one is a re-run whose loss is
    bit-equal), the one whose digest fits as the curve spells it. Without a loss to compare, the
    one published name whose digest fits.
    """
    steps = train_steps(row, CURVES_FILE)
    last = row["eval_paloma_c4_en_loss"][-1]
    optimizer = study.OPTIMIZERS[row["optimizer"]]
    group = f"sweep-{row['size']}-{row['data_tag']}-{row['optimizer'][:4]}"
    losses = {other["wandb_id"]: other["loss"] for other in rows}
    found: list[tuple[bool, str]] = []
    unmeasured: list[str] = []
    for name in dict.fromkeys((*losses, *named)):
        if not name.startswith(group):
            continue
        loss = losses.get(name)
        if loss is not None and not (isinstance(loss, float) and abs(loss - last) < 1e-9):
            continue
        fit = study.verify_digest(name, optimizer, row["config"], steps)
        if fit in ("exact", "respelled"):
            if loss is None:
                unmeasured.append(name)
            else:
                found.append((fit != "exact", name))
    if found:
        return min(found)[1]
    return unmeasured[0] if len(unmeasured) == 1 else None


def train_steps(row: Row, file: str) -> int:
    """Return the planned steps: tokens // (sequence x batch), as the launcher has it."""
    batch = required(required(row, "config", file), "train_batch_size", file)
    return study.steps_of(int(required(row, "tokens", file)), int(batch))


def left_out(config: Row, optimizer: str) -> Row:
    """Return the hyperparameters a configuration leaves to the launcher, with its values."""
    keys = study.spelling_keys(optimizer)
    return {k: v for k, v in study.UNSWEPT.items() if k in keys and k not in config}


def group_loss(row: Row) -> tuple[Any, ...]:
    """Return what a run and the twin that ended at the very same loss have in common."""
    return row["optimizer"], row["size"], row["tokens"], row["loss"]


def named_run(row: Row, curve: Row | None, twin: str | None = None) -> Run:
    """Return the run of one line of the file of runs, with its curve if there is one.

    `twin` is the run the result files name with this loss, where they do not name this one.
    """
    name = required(row, "wandb_id", RUNS_FILE)
    optimizer = study.OPTIMIZERS[required(row, "optimizer", RUNS_FILE)]
    steps = required(row, "steps", RUNS_FILE)
    config = required(row, "config", RUNS_FILE)
    fit = study.verify_digest(name, optimizer, config, steps)
    flags = []
    assumed = {} if fit in (None, "wrong") else left_out(config, optimizer)
    changed = {UNSWEPT_COLUMNS[key]: UNSWEPT_ORIGIN for key in assumed}
    notes = None
    loss = required(row, "loss", RUNS_FILE)
    extra: dict[str, Any] = {"marin.digest": fit or "unchecked"}
    if fit == "wrong":
        flags.append("digest_contradicts_config")
    if fit is None:
        flags.append("digest_unchecked")
    if row.get("ambiguous"):
        # The result file named no run: the loss is one of two runs of this configuration.
        flags.append("loss_of_a_twin")
        extra |= {"marin.twin_loss": loss} | ({"marin.twin": twin} if twin else {})
        notes = f"The loss at hand is that of {twin or 'another run'}, of the same configuration."
        changed["final_loss"] = repaired(loss, notes)
        loss = None
    elif not isinstance(loss, float) or not math.isfinite(loss) or loss > MAX_LOSS:
        extra["marin.logged_loss"] = str(loss)
        loss = math.nan
    return build(
        row,
        run_id=f"{NAME}/{name}",
        name=name,
        steps=steps,
        loss=loss,
        curve=curve,
        record=required(row, "source", RUNS_FILE),
        extra=extra,
        flags=flags,
        notes=notes,
        named_by=LOGGED,
        assumed=assumed,
        changed=changed,
    )


def curve_run(row: Row, name: str | None, line: int) -> Run:
    """Return a run of which only the curve and the configuration are known."""
    native = name or f"curve-{row['size']}-{row['data_tag']}-{row['optimizer']}-{line}"
    return build(
        row,
        run_id=f"{NAME}/{native}",
        name=name,
        steps=train_steps(row, CURVES_FILE),
        loss=row["eval_paloma_c4_en_loss"][-1],
        curve=row,
        record=row["source"],
        extra={"marin.digest": "unchecked" if name is None else "exact"},
        flags=["known_by_curve_only"],
        notes="Not in the result files; known by its evaluation curve.",
        named_by=DIGEST_ORIGIN,
    )


SPLIT = RawFile(
    SPLIT_FILE,
    "10f697c72aa8058c25263d9868e126ae86ba39e1d1e858ae34406b4272ed2fbc",
    211_269,
    url="https://raw.githubusercontent.com/zhqwqwq/Configuration-to-Performance-Scaling-Law/"
    f"4f6e64b0144ec0fa8070a4398e3aebe33a8b11b1/processed_data/keys/{SPLIT_FILE}",
    bundled=f"ncpl_data.catalog:data/{SPLIT_FILE}",
)

SOURCE = Source(
    name=NAME,
    title="Marin optimizer study (Fantastic Pretraining Optimizers and Where to Find Them)",
    owner="Marin project (Wen et al.)",
    licence="Apache-2.0",
    citation=CITATION,
    url=URL,
    origins=(
        Origin(
            name="shipped",
            title=TITLE,
            licence="Apache-2.0",
            citation=CITATION,
            url=URL,
            revision=REVISION,
            files=(
                RawFile(
                    "marin.parquet",
                    "5bbb7f325b5b958b18c26aa6c64bd99437b10e5f88e8a57c3ae3d3694daee157",
                    97_716,
                    bundled="ncpl_data.ingest:data/marin/marin.parquet",
                ),
                SPLIT,
            ),
            n_runs=2_046,
            read=read_shipped,
        ),
        Origin(
            name="lines",
            title=f"{TITLE}, as JSON lines",
            licence="Apache-2.0",
            citation=CITATION,
            url=URL,
            revision=REVISION,
            files=(
                RawFile(
                    RUNS_FILE,
                    "acf022c46ed85e5e06482891abe059f72c27c1db1d0dacdc1c5b13ca7bb50af1",
                    1_538_164,
                ),
                RawFile(
                    CURVES_FILE,
                    "8248b303fd81904157ba9b72e1e278db5bdc86a8bbf225112888e3bdfe8dd044",
                    215_360,
                ),
                SPLIT,
            ),
            n_runs=2_046,
            read=read_lines,
        ),
        wandb_runs.origin(
            project="marin-community/optimizer-scaling",
            licence="Apache-2.0",
            citation=CITATION,
            read=wandb_runs.read_marin,
        ),
    ),
    traps=(
        "the last evaluation is at step steps - 1 (5,119 of 5,120)",
        "the tag in a name is billions of tokens rounded down; 10B is 130m x 4 and 520m x 1",
        "the optimizer in a name runs into free text (soapere, muonz): take the longest known tag",
        "hyperparameters are spelled as Python prints them: the digest of 1 and 1.0 differ",
        "tiny epsilons have three spellings (1e-25, 9.999999999999999e-26, 1e-30)",
        "18 losses were found by configuration, not by name: each is, bit for bit, that of a twin "
        "the files do name. 17 of the runs have a log in LossCast-Bench, which ends elsewhere",
        "diverged runs carry NaN as text, or losses up to 1.4e14",
        "the evaluation curves have no run name",
        "decay = 0 means no decay at all, decay = 1 the whole run",
        "curves have a point at step 0, before the first update or right after it (10.8 to 12.2 "
        "nats): no part of the course a fit should follow",
    ),
)
