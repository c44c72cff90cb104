"""Fields that follow from what a file says: batches, tokens, steps, shares, sizes, names."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ncpl.forms.size import count_size

if TYPE_CHECKING:
    from ncpl.forms.understand import Understood

SHAPES = {
    "cos": "cosine", "cosine_annealing": "cosine", "cosine_with_warmup": "cosine",
    "cosine_with_min_lr": "cosine", "cosinewithwarmup": "cosine",
    "constant_with_warmup": "constant",
    "warmup_stable_decay": "wsd", "inverse_square_root": "inverse_sqrt", "inverse-square-root":
    "inverse_sqrt", "linear_with_warmup": "linear", "wsds": "wsd", "inv_sqrt_with_warmup":
    "inverse_sqrt",
}  # fmt: skip
OPTIMIZERS = {
    "adamw_torch": "adamw", "adamw_torch_fused": "adamw", "adamw_hf": "adamw",
    "adamw_apex_fused": "adamw", "fusedadamw": "adamw", "decoupledlionw": "lion", "lionw": "lion",
    "torch.optim.adamw": "adamw", "skipstepadamw": "adamw", "adam_w": "adamw",
}  # fmt: skip


def derive_fields(found: Understood) -> None:
    """Add what follows from what was read; say what can not be told."""
    for rule in (_names, _steps, _sequence, _batch, _tokens, _warmup, _rates, _decay, count_size):
        rule(found)
    for name in ("n_layers", "d_model", "d_ff", "n_heads", "n_kv_heads", "vocab_size",
                 "sequence_length", "train_steps", "warmup_steps", "decay_steps"):  # fmt: skip
        value = found.config.get(name)
        if isinstance(value, float) and value.is_integer():
            found.config[name] = int(value)
    found.config.pop("is_embedding_tied", None)
    found.origins.pop("is_embedding_tied", None)


def _names(found: Understood) -> None:
    """Name optimizer and schedule as the catalog does."""
    parts, config = found.parts, found.config
    for part, target in (("_optimizer_olmo", "optimizer"), ("_class_path", "optimizer"),
                         ("_scheduler_olmo", "schedule")):  # fmt: skip
        if part in parts:
            found.set(target, str(parts[part]).rsplit(".", 1)[-1], found.named[part])
    if (
        str(parts.get("_optimizer_megatron", "adam")).lower() == "adam"
        and found.program == "megatron"
    ):
        found.set("optimizer", "adamw", "Megatron-LM's adam decouples the weight decay")
    elif "_optimizer_megatron" in parts:
        found.set(
            "optimizer", str(parts["_optimizer_megatron"]), found.named["_optimizer_megatron"]
        )
    if found.program == "nanogpt":
        found.set("optimizer", "adamw", "nanoGPT has no other")
        _names_of_nanogpt(found)
    for name, table in (("optimizer", OPTIMIZERS), ("schedule", SHAPES)):
        if isinstance(config.get(name), str):
            value = config[name].lower().rsplit("schedulertype.", 1)[-1]
            config[name] = table.get(value, value)


def _names_of_nanogpt(found: Understood) -> None:
    """State the schedule, and say where the run does not begin from scratch."""
    is_constant = found.parts.get("_decays", True) in (False, 0, "False")
    shape = "constant" if is_constant else "cosine"
    found.set("schedule", shape, found.named.get("_decays", "nanoGPT decays by a cosine"))
    if is_constant:  # then it reads neither
        for name in ("warmup_steps", "min_learning_rate"):
            found.config.pop(name, None)
            found.origins.pop(name, None)
    begin = str(found.parts.get("_init_from", "scratch"))
    if begin.startswith("gpt2"):
        found.notes.append(
            f"init_from {begin} begins from trained weights; predictions are of runs from scratch"
        )


def _steps(found: Understood) -> None:
    """Take the steps that are given in some other way."""
    steps = found.number("_steps_if_positive")
    if steps is not None and steps > 0:
        found.set("train_steps", steps, found.named["_steps_if_positive"])
    duration = found.parts.get("_duration_olmo")
    if duration is not None:
        match = re.fullmatch(r"([\d._]+(?:e\d+)?)(T|ba)?", str(duration).strip())
        if match and match[2] == "T":
            found.set("train_tokens", float(match[1].replace("_", "")), "max_duration in tokens")
        elif match:
            found.set("train_steps", float(match[1].replace("_", "")), "max_duration")
        else:
            found.notes.append(f"max_duration {duration} does not tell steps or tokens")
    if found.number("_stop_at") is not None:
        found.notes.append(
            f"stop_at {found.number('_stop_at'):g} ends the run before its schedule does: a loss "
            "there is not that of a whole run"
        )
    if "_data_ratio" in found.parts and not {"train_tokens", "train_steps"} & set(found.config):
        found.notes.append(
            f"{found.named['_data_ratio']} {found.parts['_data_ratio']:g} counts parameters in "
            "nanochat's own way: give train_tokens"
        )
    value, unit = found.number("_duration_value"), str(found.parts.get("_duration_unit") or "")
    if value is not None:
        target = {"steps": "train_steps", "tokens": "train_tokens"}.get(unit.lower())
        if target:
            found.set(target, value, f"trainer.max_duration in {unit.lower()}")
        else:
            found.notes.append("trainer.max_duration in epochs does not tell tokens")
    if "_epochs" in found.parts and "train_steps" not in found.config:
        found.notes.append(
            f"{found.named['_epochs']} {found.parts['_epochs']} tells no tokens: the data's size "
            "is not in the file"
        )


def _sequence(found: Understood) -> None:
    """Say that a model's longest context is not the length it was trained on."""
    context = found.number("_context")
    if context is not None and "sequence_length" not in found.config:
        found.notes.append(f"{found.named['_context']} {context:g} is the longest context, perhaps "
                           "not the length of training")  # fmt: skip


def _batch(found: Understood) -> None:
    """Multiply the batch of a device by accumulation and devices."""
    config = found.config
    positive = found.number("_batch_if_positive")
    if positive is not None and positive > 0:
        found.set("batch_size_sequences", positive, found.named["_batch_if_positive"])
    tokens, length = found.number("_batch_tokens"), config.get("sequence_length")
    if tokens is not None and "batch_size_sequences" not in config:
        if length:
            origin = f"{found.named['_batch_tokens']} / sequence_length"
            found.set("batch_size_sequences", _whole(tokens / length), origin)
        else:
            found.notes.append(
                f"{found.named['_batch_tokens']} {tokens:g} tells sequences only with "
                "sequence_length"
            )
    micro = found.number("_micro")
    if micro is None or "batch_size_sequences" in config:
        return
    if "_accumulation_of_all" in found.parts:  # nanoGPT divides it by the devices
        together = found.number("_accumulation_of_all") or 1
        found.set("batch_size_sequences", _whole(micro * together),
                  "batch_size x gradient_accumulation_steps, that of all devices")  # fmt: skip
        return
    if found.program == "nanogpt":
        found.notes.append(
            "batch_size is that of one micro-step: gradient_accumulation_steps lacks"
        )
        return
    devices = found.number("_devices")
    if devices is None:
        devices_if = found.number("_devices_if_positive")
        replicas = found.number("_replicas") or 1
        is_given = devices_if is not None and devices_if > 0
        devices = devices_if * replicas if devices_if is not None and is_given else None
    if devices is None:
        found.notes.append(
            f"{found.named['_micro']} {micro:g} is the batch of one device: give n_devices, or "
            "batch_size_sequences"
        )
        return
    accumulation = found.number("_accumulation") or 1
    names = [found.named["_micro"]]
    names += [found.named["_accumulation"]] if "_accumulation" in found.named else []
    names += [found.named.get("_devices") or found.named["_devices_if_positive"]]
    found.set("batch_size_sequences", _whole(micro * accumulation * devices), " x ".join(names))


def _tokens(found: Understood) -> None:
    """Multiply batch, length and steps, or take the samples."""
    config = found.config
    batch, length = config.get("batch_size_sequences"), config.get("sequence_length")
    samples = found.number("_train_samples")
    if samples is not None and batch:
        found.set("train_steps", _whole(samples / batch), "train_samples / global_batch_size")
    if samples is not None and length:
        found.set("train_tokens", samples * length, "train_samples x sequence_length")
    steps = config.get("train_steps")
    if steps and batch and length and "nominal_train_tokens" not in config:
        origin = "train_steps x batch_size_sequences x sequence_length"
        found.set("train_tokens", steps * batch * length, origin)


def _warmup(found: Understood) -> None:
    """Turn a warm-up given as a share, in samples or in tokens, into steps."""
    config = found.config
    batch, length = config.get("batch_size_sequences"), config.get("sequence_length")
    steps = config.get("train_steps")
    if not steps and config.get("train_tokens") and batch and length:
        steps = config["train_tokens"] / (batch * length)
    up: Callable[[float], float] = math.ceil
    rules: tuple[tuple[str, Any, Callable[[float], float]], ...] = (
        ("_warmup_ratio", steps, round),
        ("_warmup_ratio_up", steps, up),
        ("_warmup_ratio_of_decay", found.number("_decay_until") or steps, round),
    )
    for part in ("_warmup", "_warmup_up"):
        value = found.number(part)
        if value is None:
            continue
        if value >= 1 or value == 0:
            other = "_warmup_ratio_up" if part == "_warmup_up" else "_warmup_ratio"
            if value or not found.number(other):
                found.set("warmup_steps", value, found.named[part])
        elif steps:
            turn = up if part == "_warmup_up" else round
            found.set("warmup_steps", turn(value * steps), f"{found.named[part]} x train_steps")
    for part, base, turn in rules:
        share = found.number(part)
        if share is not None and base:
            found.set("warmup_steps", turn(share * base), f"{found.named[part]} x steps")
    _warmup_counts(found)


def _warmup_counts(found: Understood) -> None:
    """Turn a warm-up counted in samples or tokens into steps."""
    config, parts = found.config, found.parts
    batch, length = config.get("batch_size_sequences"), config.get("sequence_length")
    samples = found.number("_warmup_samples")
    if samples is not None and batch:
        found.set("warmup_steps", round(samples / batch), "lr_warmup_samples / global_batch_size")
    if "_ramp" in parts:
        found.notes.append("the batch ramps up: the run has fewer tokens than steps x batch")
    told = str(parts.get("_warmup_tokens_or_steps") or "").removesuffix("ba")
    olmo = float(told) if re.fullmatch(r"[\d.]+(e\d+)?", told) else None
    if olmo is not None:
        in_tokens = str(found.parts.get("_units") or "").lower() == "tokens"
        if not in_tokens:
            found.set("warmup_steps", olmo, "scheduler.t_warmup")
        elif batch and length:
            found.set(
                "warmup_steps", round(olmo / (batch * length)), "scheduler.t_warmup in tokens"
            )


def _rates(found: Understood) -> None:
    """Turn a final rate given as a share into a rate."""
    share, peak = found.number("_min_ratio"), found.config.get("learning_rate")
    if share is not None and peak:
        found.set("min_learning_rate", share * peak, f"{found.named['_min_ratio']} x learning_rate")


def _decay(found: Understood) -> None:
    """State the schedule where its decay is told as a share, or goes on beyond the run."""
    config = found.config
    steps = config.get("train_steps")
    kind = found.parts.get("_decay_type")
    share = found.number("_decay_ratio")
    if share is not None and steps:
        found.set(
            "decay_steps", round(share * steps), f"{found.named['_decay_ratio']} x train_steps"
        )
    if share is not None and share < 1:
        found.set("schedule", "wsd", f"{found.named['_decay_ratio']} below 1")
    elif isinstance(kind, str):
        found.set("schedule", SHAPES.get(kind.lower(), kind.lower()), found.named["_decay_type"])
    begins = found.number("_decay_from")
    if begins is not None and steps and begins > (config.get("warmup_steps") or 0):
        config.pop("schedule", None)
        found.set("schedule", "wsd", "lr_decay_starting_step after the warm-up")
        found.set("decay_steps", steps - begins, "train_steps - lr_decay_starting_step")
    until = found.number("_decay_until")
    if until is not None and steps and until > steps:
        found.notes.append(
            f"the rate decays until step {until:g}, the run has {steps:g}: its end is above "
            "min_learning_rate, which was left out"
        )
        config.pop("min_learning_rate", None)
        found.origins.pop("min_learning_rate", None)


def _whole(value: float) -> float:
    return int(value) if float(value).is_integer() else value
