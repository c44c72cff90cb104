"""Whose configuration it is, told by keys that only one program has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ncpl_data.ingest.importers.spelling import flattened

KEYS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("per_device_train_batch_size",), ("huggingface", "huggingface_model")),
    (("trainer.num_train_steps",), ("levanter",)),
    (("train_module.max_grad_norm",), ("olmo_core",)),
    (("data_loader.global_batch_size",), ("olmo_core",)),
    (("lr_decay_style",), ("megatron",)),
    (("lr_decay_iters", "train_iters"), ("megatron",)),
    (("train_iters", "seq_length"), ("megatron",)),
    (("training.seq_len",), ("torchtitan",)),
    (("max_target_length", "base_emb_dim"), ("maxtext",)),
    (("max_iters", "block_size"), ("nanogpt",)),
    (("num_hidden_layers", "hidden_size", "vocab_size"), ("huggingface_model", "common")),
)
"""Keys that stand together, and the alias tables they mean."""


def programs_of(config: Mapping[str, Any], aliases: str) -> tuple[str, ...]:
    """Return the alias tables of a configuration, in order; `aliases` is what the user says."""
    if aliases == "huggingface":
        return ("huggingface", "huggingface_model")
    if aliases != "common":
        return (aliases,)
    flat = flattened(config)
    found = (tables for keys, tables in KEYS if all(key in flat for key in keys))
    return next(found, ("common",))
