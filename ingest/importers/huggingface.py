"""Hugging Face Trainer: trainer_state.json with training_args.json and config.json beside it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.base import TRAIN_STEPS, Draft, Options, read_config
from ncpl_data.ingest.importers.spelling import is_finite

STATE, ARGUMENTS, MODEL = "trainer_state.json", "training_args.json", "config.json"
NOT_CURVES = {
    *("step", "epoch", "total_flos", "train_runtime", "train_samples_per_second"),
    *("train_steps_per_second", "train_loss", "num_input_tokens_seen"),
}
"""Keys of a log entry that are no curve. `train_loss` is the mean over the whole run."""


def read(path: str, options: Options) -> Iterator[dict[str, Any]]:
    """Yield the run of a trainer_state.json, or each run of a folder, from its last checkpoint.

    Batch: per device x accumulation x devices. The number of devices stands in no file of the
    Trainer: declare it with --set /system/n_devices=8, or the batch stays unknown.
    """
    states = find_states(Path(path))
    names = Counter(folder.resolve().name for folder in states)
    for folder, state_path in states.items():
        name = folder.resolve().name
        if names[name] > 1:  # lr1/out and lr2/out: what is above tells them apart
            name = "-".join(folder.relative_to(path).parts) or name
        yield read_run(state_path, Draft(options, name))


def read_run(state_path: Path, draft: Draft) -> dict[str, Any]:
    """Return the run of one state."""
    state = read_config(state_path)
    if not isinstance(state.get("log_history"), list):
        raise InputError(f"{state_path} has no log_history; expected the state of a Trainer")
    folders = (state_path.parent, state_path.parent.parent)
    draft.set(TRAIN_STEPS, state.get("max_steps"))
    beside = draft.options.config or find_beside(folders, ARGUMENTS)
    arguments = read_config(beside) if beside else {}
    draft.apply("huggingface", arguments)
    model = find_beside(folders, MODEL)
    if model:
        config = read_config(model)
        draft.apply("huggingface_model", config)
        draft.raw_config = {**arguments, "model_config": config}
    set_batch(draft, arguments, state)
    read_history(draft, state, arguments)
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
    return draft.document(("eval/loss", "train/loss"))


def find_states(path: Path) -> dict[Path, Path]:
    """Return the state of each run by its folder: its own, else that of its last checkpoint."""
    found: dict[Path, Path] = {}
    for state in [path] if path.is_file() else sorted(path.rglob(STATE)):
        folder = state.parent.parent if checkpoint_of(state) is not None else state.parent
        known = found.get(folder)
        if known is None or later(state, known):
            found[folder] = state
    if not found:
        raise InputError(f"{path} holds no {STATE}; expected an output folder of a Trainer")
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
        draft.set("/schedule/batch_size_sequences", math.prod(factors), rule)


def read_history(draft: Draft, state: dict[str, Any], arguments: dict[str, Any]) -> None:
    """Take the curves of the log and the summary at its end."""
    for entry in state["log_history"]:
        step = entry.get("step") if isinstance(entry, dict) else None
        if not isinstance(step, int):
            continue
        for key, value in entry.items():
            if key in NOT_CURVES or not isinstance(value, (int, float)):
                continue
            if key.endswith(("_runtime", "_per_second")):
                continue
            draft.point(curve_name(key), step, value, entry.get("num_input_tokens_seen"))
        if "train_runtime" in entry:
            draft.set("/system/wall_time_seconds", entry["train_runtime"])
    every = arguments.get("logging_steps")
    if "train/loss" in draft.curves and isinstance(every, (int, float)) and every > 1:
        smoothing = f"mean of the last {every:g} steps"
        draft.metrics["train/loss"] = {"name": "train/loss", "smoothing": smoothing}


def curve_name(key: str) -> str:
    """Return our name of a logged key: loss is train/loss, eval_c4_loss is eval/c4/loss."""
    match = re.fullmatch(r"eval_(?:(.+)_)?([^_]+)", key)
    if match:
        return "/".join(part for part in ("eval", match[1], match[2]) if part)
    return f"train/{key}"
