"""What a loss is a loss of: task, stage and logarithm, established from what lies beside it."""

from __future__ import annotations

import math
import re
from statistics import median
from typing import TYPE_CHECKING, Any

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers.spelling import flattened, is_evaluation, is_loss

if TYPE_CHECKING:
    from ncpl_data.ingest.importers.base import Draft

PREFERENCE = re.compile(r"(^|[/_])(rewards?[/_](chosen|rejected|margins?|accurac)|logps?[/_])")
REINFORCEMENT = re.compile(
    r"(^|[/_])(reward|rewards/\w+/mean|advantages?|kl|approx_kl|policy_loss)$"
)
OTHER_TASKS = re.compile(
    r"(^|[/_])(f1|mcc|matthews_correlation|auc|auroc|roc_auc|precision|recall|wer|cer|bleu|rouge\w*"
    r"|exact_match|map|miou|spearmanr|pearson|top_?5)$"
)
LANGUAGE_MODELS = re.compile(
    r"ForCausalLM|LMHeadModel|ForMaskedLM|ForConditionalGeneration|ForPreTraining"
)
OTHER_MODELS = re.compile(
    r"For[A-Z]\w*(Classification|QuestionAnswering|MultipleChoice|CTC|Detection|Segmentation)"
)
ADAPTERS = (
    "adapter_weights",
    "adapter_config",
    "lora_r",
    "lora_rank",
    "lora_alpha",
    "peft_type",
    "peft_config",
    "adapter_name_or_path",
)
PREFERENCE_KEYS = ("ref_model_init_kwargs", "precompute_ref_log_probs", "pref_beta", "dpo_beta")
PLAIN = {"nats_per_token": 1.0, "bits_per_token": math.log(2)}
"""Nats in one unit of a loss that is no perplexity."""

LOGARITHM_TOLERANCE = 0.03
"""Relative. Between a loss and the logarithm of the perplexity printed beside it."""

FRESH_FLOOR = 0.6
"""A fresh model starts near the logarithm of its vocabulary; below this share it is asked about."""

FIRST_LOSS = 3.5
"""Nats. Below it the first loss of a run without a stated vocabulary is asked about."""

FIRST_STEPS = 0.02
"""Share of a run whose first loss is still that of its start."""


def establish_logarithm(draft: Draft) -> None:
    """Set the unit of a loss by the perplexity logged at the same steps, or tell that none fits."""
    for metric, entry in draft.metrics.items():
        if entry.get("unit") not in PLAIN or metric in draft.options.units:
            continue
        for other in beside(draft, metric):
            pairs = [
                (math.log(draft.points[other][step]), value)
                for step, value in draft.finite(metric).items()
                if value > 0.3 and 1 < draft.points[other].get(step, 0) < math.inf
            ]
            if not pairs:
                continue
            share = median(nats / value for nats, value in pairs)
            fits = [u for u, n in PLAIN.items() if abs(share / n - 1) < LOGARITHM_TOLERANCE]
            if fits and fits[0] != entry["unit"]:
                entry["unit"] = fits[0]
                draft.note(
                    f"{draft.where}: {other} is a power of 2 of {metric}: the loss is in {fits[0]}"
                    if fits[0] == "bits_per_token"
                    else f"{draft.where}: {other} says that {metric} is in {fits[0]}"
                )
            elif not fits and abs(share - 1) > 0.1:
                entry["unit"] = "other"
                draft.note(
                    f"{draft.where}: {other} is neither e nor 2 to the power of {metric}: "
                    f"something is added to the loss, or in another unit: --unit {metric}=UNIT"
                )


def beside(draft: Draft, metric: str) -> list[str]:
    """Return the perplexities logged of the same data as a loss."""
    head = (
        re.split(r"[A-Za-z]*(loss|nll|entropy)", metric, flags=re.IGNORECASE)[0]
        .lower()
        .strip("/_.")
    )
    found = []
    for other, entry in draft.metrics.items():
        if entry.get("unit") != "perplexity":
            continue
        own = (
            re.split(r"ppl|[A-Za-z]*perplexity", other, flags=re.IGNORECASE)[0].lower().strip("/_.")
        )
        if own == head or is_evaluation(other) == is_evaluation(metric) == (own != head):
            found.append(other)
    return found


def establish_task(draft: Draft) -> None:
    """State the stage where files say it, and the unit of what is no loss of a language model.

    Raises InputError where the loss is one of another task, or where weights were fine-tuned and
    nobody says to what end.
    """
    config = {key.rsplit(".", 1)[-1]: value for key, value in flattened(draft.raw_config).items()}
    names = [m for m in draft.points if not is_loss(m)]
    declared = draft.get("/stage")
    told = preference(names, config) or reinforcement(names)
    if told:
        if declared not in ("rl", "sft"):
            raise InputError(
                f"{draft.where}: {told}: its loss is no language model's in nats per token. It is "
                "no pretraining run; to keep it all the same: --set /stage=rl"
            )
        for metric, entry in draft.metrics.items():
            if is_loss(metric) and metric not in draft.options.units:
                entry["unit"] = "other"
        return
    architectures = " ".join(
        str(v) for k, v in flattened(draft.raw_config).items() if "architectures" in k
    )
    other = OTHER_MODELS.search(architectures)
    task = next((m for m in names if OTHER_TASKS.search(m.lower())), None)
    is_language_model = LANGUAGE_MODELS.search(architectures) is not None
    if other or (task and not is_language_model and declared is None):
        what = f"the model is {other[0]}" if other else f"{task} is logged beside the loss"
        raise InputError(
            f"{draft.where}: {what}: a loss of another task than language modelling"
            + ("" if other else ". If it is one: --set /stage=pretrain")
        )
    if not is_language_model and declared is None and not draft.get("/model/vocab_size"):
        check_accuracy(draft, names)
    config |= {key: value for key, value in draft.raw_config.items() if key in ADAPTERS}
    adapter = next((key for key in ADAPTERS if config.get(key)), None)
    if str(config.get("finetuning_type", "")).lower() in ("lora", "freeze", "qlora"):
        adapter = "finetuning_type"
    if adapter and declared is None:
        raise InputError(
            f"{draft.where}: {adapter} is {str(config[adapter])[:40]}: adapters of other weights "
            "are trained. Say which stage it is: --set /stage=sft (or cpt)"
        )
    start = str(config.get("init_from") or "")
    if start == "scratch":
        draft.set("/initial_weights", "random")
    if start and start not in ("scratch", "resume"):
        rule = {"kind": "derived", "rule": f'init_from is "{start}": it starts from weights'}
        draft.set("/stage", "cpt", rule)
        draft.set("/initial_weights", start)
    if isinstance(config.get("base_model"), str):
        draft.set("/initial_weights", config["base_model"])
    ask_about_start(draft)


def preference(names: list[str], config: dict[str, Any]) -> str | None:
    """Return what says that a run tunes preferences, None if nothing does."""
    metric = next((m for m in names if PREFERENCE.search(m.lower())), None)
    key = next((k for k in PREFERENCE_KEYS if k in config), None)
    if metric or key:
        return f"{metric or key} says that preferences were tuned"
    return None


def reinforcement(names: list[str]) -> str | None:
    """Return what says that a run is reinforcement learning, None if nothing does."""
    metric = next((m for m in names if REINFORCEMENT.search(m.lower())), None)
    return f"{metric} says that rewards were learned from" if metric else None


def check_accuracy(draft: Draft, names: list[str]) -> None:
    """Raise InputError where an accuracy of held-out data stands beside a classifier's loss."""
    accuracy = [
        m for m in names if is_evaluation(m) and re.search(r"(^|[/_])acc(uracy)?$", m.lower())
    ]
    has_perplexity = any(e.get("unit") == "perplexity" for e in draft.metrics.values())
    starts = [first_value(draft, m) for m in draft.points if is_loss(m)]
    if accuracy and not has_perplexity and starts and max(starts) < FIRST_LOSS:
        raise InputError(
            f"{draft.where}: {accuracy[0]} beside a loss that starts at {max(starts):g}: is this a "
            "classifier? If it is a language model: --set /stage=pretrain"
        )


def first_value(draft: Draft, metric: str) -> float:
    """Return the first finite value of a metric, 0 if it has none."""
    return next(iter(draft.finite(metric).values()), 0.0)


def ask_about_start(draft: Draft) -> None:
    """Tell that a run starts far below the loss of a fresh model, where no stage says why."""
    if any(draft.get(p) for p in ("/stage", "/parent_run_id", "/initial_weights")):
        return
    vocabulary = draft.get("/model/vocab_size")
    floor = FRESH_FLOOR * math.log(vocabulary) if vocabulary and vocabulary > 1 else FIRST_LOSS
    last = max((max(p) for p in draft.points.values()), default=0)
    for metric in draft.points:
        points = draft.finite(metric)
        if not is_loss(metric) or not points or draft.metrics[metric]["unit"] != "nats_per_token":
            continue
        step = min(points)
        if step <= max(1, FIRST_STEPS * (draft.get("/schedule/train_steps") or last)):
            if points[step] < floor:
                draft.note(
                    f"{draft.where}: {metric} starts at {points[step]:g} at step {step}, below a "
                    "fresh model: does the run start from trained weights? Say which: "
                    "--set /initial_weights=NAME, or random where it starts from none"
                )
            return
