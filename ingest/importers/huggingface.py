"""Hugging Face Trainer: trainer_state.json with training_args.json and config.json beside it."""

from __future__ import annotations

import math
import re
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
    """Yield the run of a trainer_state.json or of an output folder.

    Batch: per device x accumulation x devices. The number of devices stands in no file of the
    Trainer: declare it with --set /system/n_devices=8, or the batch stays unknown.
    """
    state_path = find_state(Path(path))
    state = read_config(state_path)
    if not isinstance(state.get("log_history"), list):
        raise InputError(f"{state_path} has no log_history; expected the state of a Trainer")
    folders = (state_path.parent, state_path.parent.parent)
    run_folder = next((f for f in folders if not f.name.startswith("checkpoint-")), folders[0])
    draft = Draft(options, run_folder.resolve().name)
    draft.set(TRAIN_STEPS, state.get("max_steps"))
    beside = options.config or find_beside(folders, ARGUMENTS)
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
    yield draft.document(("eval/loss", "train/loss"))


def find_state(path: Path) -> Path:
    """Return the state file; of several checkpoints in a folder the last."""
    if path.is_file():
        return path
    found = list(path.glob(f"checkpoint-*/{STATE}"))
    own = path / STATE
    if own.is_file():
        return own
    if not found:
        raise InputError(f"{path} holds no {STATE}; expected an output folder of a Trainer")
    return max(found, key=lambda p: int(re.sub(r"\D", "", p.parent.name) or 0))


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
