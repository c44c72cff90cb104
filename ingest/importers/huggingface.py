"""Hugging Face Trainer: trainer_state.json with what lies beside it, or its logs line by line.

Beside a state: training_args.json, config.json, adapter_config.json and the model card (README.md)
that the Trainer writes. Without one: trainer_log.jsonl (LLaMA-Factory) or logging.jsonl (ms-swift).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import BATCH, TRAIN_STEPS, Draft, Options
from ncpl_data.ingest.importers.config_file import read_config
from ncpl_data.ingest.importers.folders import each_run, telling
from ncpl_data.ingest.importers.model_card import read_card
from ncpl_data.ingest.importers.spelling import is_finite

STATE, ARGUMENTS, MODEL = "trainer_state.json", "training_args.json", "config.json"
ADAPTER, CARD = "adapter_config.json", "README.md"
LINES = ("trainer_log.jsonl", "logging.jsonl")
NOT_CURVES = {
    *("step", "epoch", "total_flos", "train_runtime", "train_samples_per_second"),
    *("train_steps_per_second", "train_loss", "num_input_tokens_seen", "num_tokens"),
    "eval_num_tokens",
}
"""Keys of a log entry that are no curve. `train_loss` is the mean over the whole run."""

TOKENS = ("num_input_tokens_seen", "num_tokens")


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield the run of a trainer_state.json, or each run of a folder, from its last checkpoint.

    Batch: per device x accumulation x devices. The number of devices stands only in the model
    card: declare it with --set /system/n_devices=8, or the batch stays unknown.
    """
    root = Path(path)
    if root.suffix == ".jsonl":
        yield read_lines(root, options, telling(root.resolve().parent.name, root))
        return
    states = find_states(root)
    if not states:
        logs = sorted(p for name in LINES for p in root.rglob(name)) if root.is_dir() else []
        if not logs:
            raise InputError(f"{path} holds no {STATE}; expected an output folder of a Trainer")
        yield from each_run(
            logs, lambda p: read_lines(p, options, telling(p.resolve().parent.name, p)), options
        )
        return
    names = Counter(folder.resolve().name for folder in states)
    named = {}
    for folder, state_path in states.items():
        name = folder.resolve().name
        if names[name] > 1:  # lr1/out and lr2/out: what is above tells them apart
            name = "-".join(folder.relative_to(path).parts) or name
        named[state_path] = telling(name, state_path)
    yield from each_run(
        list(states.values()), lambda p: read_run(p, Draft(options, named[p], str(p))), options
    )


def read_lines(path: Path, options: Options, name: str) -> dict[str, Any]:
    """Return the run of a log that the Trainer's followers write line by line."""
    from ncpl_data.ingest.importers.text_log import read_log

    draft = Draft(options, name, str(path))
    beside = options.config or find_beside((path.parent,), ARGUMENTS)
    if beside:
        draft.apply("huggingface", read_config(beside))
    return read_log(path, draft)


def read_run(state_path: Path, draft: Draft) -> dict[str, Any]:
    """Return the run of one state, or of a log line by line that goes further than a checkpoint."""
    state = read_config(state_path)
    if checkpoint_of(state_path) is not None:
        log = find_beside((state_path.parent.parent,), LINES[0]) or find_beside(
            (state_path.parent.parent,), LINES[1]
        )
        further = read_lines(log, draft.options, draft.name) if log else None
        if further and further["outcome"].get("final_step", 0) > (state.get("global_step") or 0):
            draft.note(f"{log} goes further than {state_path}: it is the run")
            return further
    if not isinstance(state.get("log_history"), list):
        raise InputError(f"{state_path} has no log_history; expected the state of a Trainer")
    folders = (state_path.parent, state_path.parent.parent)
    draft.set(TRAIN_STEPS, state.get("max_steps"))
    beside = draft.options.config or find_beside(folders, ARGUMENTS)
    arguments = read_config(beside) if beside else {}
    draft.apply("huggingface", arguments)
    card = find_beside(folders[:1] if checkpoint_of(state_path) is None else folders, CARD)
    devices = arguments
    if card:
        stated = read_card(card)
        draft.apply("huggingface_card", stated)
        draft.raw_config = {**stated, **arguments}
        devices = {**stated, **arguments}
    model = find_beside(folders, MODEL)
    if model:
        config = read_config(model)
        draft.apply("huggingface_model", config)
        draft.raw_config = {**devices, "model_config": config}
    adapter = find_beside(folders, ADAPTER)
    if adapter:
        draft.raw_config["adapter_config"] = read_config(adapter)
    set_batch(draft, devices, state)
    read_history(draft, state, arguments)
    draft.settle()
    draft.set("/outcome/final_step", state.get("global_step"))
    if state.get("max_steps"):
        is_done = state.get("global_step") == state["max_steps"]
        rule = {"kind": "derived", "rule": "finished if global_step is max_steps"}
        draft.set("/outcome/status", "finished" if is_done else "truncated", rule)
    draft.set("/system/train_flops", state.get("total_flos") or None)
    draft.set("/system/framework", "transformers", "declared")
    for name, precision in (("bf16", "bfloat16"), ("fp16", "float16")):
        if arguments.get(name) is True:
            draft.set("/system/precision", precision)
    return draft.document(("eval/loss",))


def find_states(path: Path) -> dict[Path, Path]:
    """Return the state of each run by its folder: its own, else that of its last checkpoint."""
    found: dict[Path, Path] = {}
    for state in [path] if path.is_file() else sorted(path.rglob(STATE)):
        folder = state.parent.parent if checkpoint_of(state) is not None else state.parent
        known = found.get(folder)
        if known is None or later(state, known):
            found[folder] = state
    return found


def later(state: Path, known: Path) -> bool:
    """Return whether a state stands before another of its run."""
    own, other = checkpoint_of(state), checkpoint_of(known)
    return own is None or (other is not None and own > other)


def checkpoint_of(state: Path) -> int | None:
    """Return the number of the checkpoint that a state lies in, None for a run's own."""
    match = re.fullmatch(r"checkpoint-(\d+)", state.parent.name)
    return int(match[1]) if match else None


def find_beside(folders: tuple[Path, ...], name: str) -> Path | None:
    """Return a file of the run's folder or the one above, if it is there."""
    return next((f / name for f in folders if (f / name).is_file()), None)


def set_batch(draft: Draft, arguments: dict[str, Any], state: dict[str, Any]) -> None:
    """State the batch over all devices, where the number of devices is known."""
    per_device = arguments.get("per_device_train_batch_size") or state.get("train_batch_size")
    accumulation = arguments.get("gradient_accumulation_steps")
    devices = draft.get("/system/n_devices")
    factors: tuple[Any, ...] = (per_device, accumulation, devices)
    if all(is_finite(factor) and factor > 0 for factor in factors):
        rule = {"kind": "derived", "rule": "per device x accumulation x devices"}
        draft.set(BATCH, math.prod(factors), rule)


def read_history(draft: Draft, state: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Take the curves of the log and the summary at its end."""
    entries = [e for e in state["log_history"] if isinstance(e, dict)]
    last = best_at_end(entries, state, arguments)
    for place, entry in enumerate(entries, start=1):
        step = entry.get("step")
        if not isinstance(step, int):
            continue
        tokens = next((entry[k] for k in TOKENS if is_finite(entry.get(k))), None)
        for key, value in entry.items():
            if key in NOT_CURVES or isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            if key.endswith(("_runtime", "_per_second", "_time")):
                continue
            if entry is last and key.startswith("eval_"):
                continue
            whole = int(tokens) if tokens is not None else None
            draft.point(curve_name(key), step, value, whole, place=place)
        if "train_runtime" in entry:
            draft.set("/system/wall_time_seconds", entry["train_runtime"])
    every = arguments.get("logging_steps") or state.get("logging_steps")
    logged = any(o.metric == "train/loss" for o in draft.seen)
    if logged and every is not None and is_finite(every) and every > 1:
        smoothing = f"mean of the last {every:g} steps"
        draft.metrics["train/loss"] = {"name": "train/loss", "smoothing": smoothing}


def best_at_end(
    entries: list[dict[str, Any]], state: dict[str, Any], arguments: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the evaluation of the best weights at the end, None if there is none.

    With `load_best_model_at_end` the Trainer evaluates its best weights once more at the last
    step; the state names the best value and its step.
    """
    evaluations = [e for e in entries if "eval_loss" in e]
    best, step = state.get("best_metric"), state.get("best_global_step")
    if not evaluations or arguments.get("load_best_model_at_end") is False:
        return None
    last = evaluations[-1]
    is_at_end = last.get("step") == state.get("global_step") and entries[-1] is last
    is_best = best is not None and best == last.get("eval_loss")
    earlier = any(e.get("step") != last.get("step") and e["eval_loss"] == best for e in evaluations)
    is_other_step = step is not None and step != last.get("step")
    return last if is_at_end and is_best and (is_other_step or earlier) else None


def curve_name(key: str) -> str:
    """Return our name of a logged key: loss is train/loss, eval_c4_loss is eval/c4/loss."""
    match = re.fullmatch(r"eval_(?:(.+)_)?(loss|perplexity)", key)
    if match:
        return "/".join(part for part in ("eval", match[1], match[2]) if part)
    return f"eval/{key[5:]}" if key.startswith("eval_") else f"train/{key}"
