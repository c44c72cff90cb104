"""The model card (README.md) that the Trainer writes: the hyperparameters it lists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ncpl_data.ingest.importers.encodings import text_of

ITEM = re.compile(r"^- (?P<name>[a-z_]\w*): (?P<value>\S.*?)\s*$", re.MULTILINE)
OPTIMIZER = re.compile(
    r"(?:Use )?(?P<name>[\w.]+) with betas=\((?P<b1>[\d.e-]+), ?(?P<b2>[\d.e-]+)\)"
)
EPSILON = re.compile(r"epsilon=(?P<eps>[\d.e-]+)")
BASE = re.compile(r"fine-tuned version of \[(?P<base>[^\]]+)\]")


def read_card(path: Path) -> dict[str, Any]:
    """Return the hyperparameters of a card by its own names, {} for a card of another kind."""
    text = text_of(path)
    if "hyperparameters were used during training" not in text:
        return {}
    found: dict[str, Any] = {}
    for item in ITEM.finditer(text):
        found.setdefault(item["name"], number(item["value"]))
    optimizer = OPTIMIZER.search(str(found.get("optimizer", "")))
    if optimizer:
        found |= {"optim": optimizer["name"], "adam_beta1": float(optimizer["b1"])}
        found["adam_beta2"] = float(optimizer["b2"])
        epsilon = EPSILON.search(str(found["optimizer"]))
        if epsilon:
            found["adam_epsilon"] = float(epsilon["eps"])
    base = BASE.search(text)
    if base:
        found["base_model"] = base["base"]
    return found


def number(text: str) -> Any:
    """Return a number, or the text where it is none."""
    try:
        return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
    except ValueError:
        return text
