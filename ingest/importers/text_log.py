"""Text logs that print a line a step: forms in `text_lines`, settings in `text_settings`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import BATCH, SEQUENCE_LENGTH, TRAIN_STEPS, Draft, Options
from ncpl_data.ingest.importers.config_file import read_config
from ncpl_data.ingest.importers.folders import each_run, names_of
from ncpl_data.ingest.importers.text_reader import Reader
from ncpl_data.schema.aliases import schedule_shape

PRIMARY = ("validation/loss", "validation/bpb")
SMOOTHING = {"train/loss_smoothed": "exponential moving average"}
SUFFIXES = (".txt", ".log", ".out", ".jsonl", ".err")
BATCH_NAMES = ("batch_size", "train_batch_size", "total_batch_size")
UNREAD_SHARE = 0.1
"""Share of the lines with a metric that may be of no known form."""

HELD_OUT_WORD = re.compile(r"\b(val|valid|validation|eval|evaluation|dev)", re.IGNORECASE)


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield the run of one log file, or one run a file of a folder.

    Files of a folder that hold no log are passed over and told. The settings a log prints first
    are read as text: only plain numbers and products of numbers. A batch size counts only if its
    comment says whether it is in sequences or tokens.
    """
    root = Path(path)
    paths = [root]
    if root.is_dir():
        paths = sorted(p for p in root.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    if not paths:
        raise InputError(f"{path} holds no log; expected files that end in {', '.join(SUFFIXES)}")
    named = names_of(paths, root)
    if options.launch == 0:
        for log in paths:
            yield from every_launch(log, options, named[log])
        return
    yield from each_run(
        paths, lambda log: read_log(log, Draft(options, named[log], str(log))), options
    )


def every_launch(path: Path, options: Options, name: str) -> Iterator[dict[str, Any]]:
    """Yield each launch of a log as a run of its own."""
    number, n_launches = 1, 1
    while number <= n_launches:
        own = replace(options, launch=number, run=None)
        draft = Draft(own, f"{options.run or name}-{number}", str(path))
        yield read_log(path, draft)
        number, n_launches = number + 1, draft.n_launches


def read_log(path: Path, draft: Draft) -> dict[str, Any]:
    """Return the run of one log."""
    reader = Reader(draft)
    reader.read(path)
    if not draft.seen:
        raise InputError(nothing_read(path, reader))
    draft.settle()
    reader.settings.settle(draft.ends_before)
    check_unread(reader, path)
    state_settings(draft, reader)
    if draft.options.config:
        draft.apply(draft.options.aliases, read_config(draft.options.config))
    for metric, smoothing in SMOOTHING.items():
        if metric in draft.points:
            draft.metrics[metric] = {"name": metric, "smoothing": smoothing}
    reader.state_units()
    set_status(draft, reader)
    return draft.document(PRIMARY)


def nothing_read(path: Path, reader: Reader) -> str:
    """Return the sentence for a log without a line of a known form."""
    told = f'{path} has no line of a known form, such as "step:125/3350 val_loss:4.66393"'
    if reader.without_step:
        return (
            f"{path} states no steps: the Trainer's console prints none without its progress bar. "
            "Convert trainer_state.json of the output folder: ncpl-data convert hf FOLDER"
        )
    if reader.unread:
        number, line = reader.unread[0]
        told += f'; line {number} looks like one: "{line.strip()[:120]}"'
    return (
        f'{told}. Say its form: --line "train/loss=TEXT {{step}} TEXT {{value}}" (see docs/logs.md)'
    )


def check_unread(reader: Reader, path: Path) -> None:
    """Tell of lines with metrics that were not read.

    Raises InputError where they are too many, or where they alone hold the held-out loss.
    """
    draft = reader.draft
    end = draft.ends_before
    unread = [(n, line) for n, line in reader.unread if end is None or n < end]
    if not unread:
        return
    number, line = unread[0]
    example = f'line {number}: "{line.strip()[:120]}"'
    cure = 'Say its form: --line "validation/loss=TEXT {step} TEXT {value}" (see docs/logs.md)'
    share = len(unread) / (len(unread) + reader.n_read)
    if len(unread) >= 3 and share > UNREAD_SHARE:
        raise InputError(
            f"{path}: {len(unread):,} of {len(unread) + reader.n_read:,} lines that hold a metric "
            f"are of no known form, such as {example}. {cure}"
        )
    held_out = [(n, text) for n, text in unread if HELD_OUT_WORD.search(text)]
    has_held_out = any(m.startswith(("validation/", "eval/")) for m in draft.points)
    if held_out and not has_held_out and not draft.options.metric:
        number, line = held_out[0]
        raise InputError(
            f'{path} line {number}: "{line.strip()[:120]}" looks like a held-out loss and is of no '
            f"known form. {cure}; or take the training loss: --metric train/loss"
        )
    draft.note(
        f"{path}: {len(unread):,} lines that look like metrics were not read, such as {example}"
    )


def state_settings(draft: Draft, reader: Reader) -> None:
    """State the settings, the later statement first, and the columns of the lines."""
    settings = reader.settings
    values = dict(settings.values)
    # GPT-NeoX's train_batch_size is that of a whole step.
    unsure = [name for name in BATCH_NAMES if name in values and not settings.is_megatron]
    for name, first, later, place in settings.conflicts:
        draft.note(f"{draft.where} line {place}: {name} is {later} after {first}; the later stands")
    if not reader.is_stopped_by_clock:
        reader.columns.state_planned(draft)
    if reader.is_stopped_by_clock:
        draft.note(f"{draft.where}: a clock ends this run: the steps it counts towards are no plan")
        values = {k: v for k, v in values.items() if k not in STEP_NAMES}
    length = values.get("block_size") or values.get("sequence_length") or values.get("seq_length")
    if isinstance(length, (int, float)):
        draft.set(SEQUENCE_LENGTH, int(length))
    state_header(draft, values)
    reader.columns.state(draft)
    kept = {k: v for k, v in values.items() if k not in unsure and k not in HEADER}
    programs = ["megatron" if settings.is_megatron else "nanogpt", "modded_nanogpt"]
    if settings.is_maxtext:
        programs = ["maxtext"]
    for program in programs:
        draft.apply(program, kept)
    for dictionary in settings.dictionaries:
        draft.apply("common", dictionary)
    draft.raw_config = {**values, **{k: v for d in settings.dictionaries for k, v in d.items()}}
    for name in unsure:
        set_batch(draft, values[name], settings.notes[name].lower())


HEADER = ("tokens_per_step", "params", "final_lr_frac", "lr_schedule", "train_tokens", "precision")
STEP_NAMES = (
    "num_iterations",
    "train_steps",
    "max_iters",
    "iterations",
    "max_steps",
    "train_iters",
)
PRECISIONS = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def state_header(draft: Draft, values: dict[str, Any]) -> None:
    """State what headers say in units of their own."""
    tokens, length = values.get("tokens_per_step"), draft.get(SEQUENCE_LENGTH)
    if isinstance(tokens, int) and length and tokens % length == 0:
        rule = {"kind": "derived", "rule": "tokens a step / sequence length"}
        draft.set(BATCH, tokens // length, rule)
    if isinstance(values.get("global_batch_size"), int):
        draft.set(BATCH, values["global_batch_size"])
    params = values.get("params")
    if isinstance(params, (int, float)):
        draft.set("/model/params_total", int(params))
    if isinstance(values.get("train_tokens"), int):
        draft.set("/schedule/train_tokens", values["train_tokens"])
    if isinstance(values.get("lr_schedule"), str):
        draft.set("/schedule/shape", schedule_shape(values["lr_schedule"]))
    share, rate = values.get("final_lr_frac"), values.get("learning_rate")
    if isinstance(share, (int, float)) and isinstance(rate, (int, float)):
        rule = {"kind": "derived", "rule": "final LR fraction x peak learning rate"}
        draft.set("/schedule/min_learning_rate", share * rate, rule)
    precision = PRECISIONS.get(str(values.get("precision", "")).lower())
    draft.set("/system/precision", precision)
    vocabulary = values.get("vocab_size")
    if isinstance(vocabulary, int):
        draft.set("/model/vocab_size", vocabulary)
    if isinstance(values.get("n_kv_head"), int):
        draft.set("/model/n_kv_heads", values["n_kv_head"])


def set_batch(draft: Draft, value: Any, note: str) -> None:
    """State the batch if the comment beside it says what it counts."""
    length = draft.get(SEQUENCE_LENGTH)
    if "sequence" in note and "token" not in note:
        draft.set(BATCH, value)
    elif "token" in note and length and value % length == 0:
        rule = {"kind": "derived", "rule": "batch in tokens / sequence length"}
        draft.set(BATCH, value // length, rule)


def set_status(draft: Draft, reader: Reader) -> None:
    """State how the run ended, where the log says how long it should be."""
    steps = draft.get(TRAIN_STEPS)
    last = max((max(points) for points in draft.points.values()), default=0)
    if steps and not reader.is_stopped_by_clock:
        rule = {"kind": "derived", "rule": "finished if the last line is of the last step"}
        is_done = last >= steps - 1  # some count from 0
        draft.set("/outcome/status", "finished" if is_done else "truncated", rule)
