"""The authors' released weights: OptimizerStudy/NCPL-final and NCPL-intermediate on the hub.

Layout, read from their repository zhqwqwq/Configuration-to-Performance-Scaling-Law (MIT, commit
869842b; src/model.py, src/generate_dataset.py, src/generate_eval_results_hf.py):

- a folder with `pytorch_model.bin`, a pickle of {"model_state_dict": {...}}, and `config.json`,
  the training settings (not a transformers configuration); the shape is that of Qwen/Qwen3-1.7B;
- names `base.*` (transformers' AutoModel), `num_mlp.0.*`, `num_mlp.2.*`, `head.*`, from a wrapped
  training also with `module.` before them;
- the Qwen3 tokenizer; a placeholder where a number's vector stands; the prediction is read at the
  last token of "final loss: ", or of "loss: " after "frac: " and a number; the sum with the
  reference law at the final data size is the loss.

A pickle is refused here: `convert` is the one place that opens one, and it asks torch for tensors
only (`weights_only=True`, whose reader builds tensors and plain containers and refuses every other
call; a hole in it, CVE-2025-32434, was closed in torch 2.6, the oldest this package takes).

Not verified, as the hub could not be reached: that the files bear these names today, that the
weights are fp32, and the order of the fields, which is that of `conf` in the authors' processed
data; their repository does not hold that file. `FIELDS` is this package's guess at it. Optimizer
fields with names of their own (adam_lr, block_size) are not given to the model. Compare with the
authors' `results.json` before trusting a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ncpl.data.snapshot import Family
from ncpl.errors import BundleError
from ncpl.language.base import new_backbone, read_shape
from ncpl.language.bundle import FamilyFit, LanguageBundle
from ncpl.language.checkpoint import replace
from ncpl.language.network import LanguageNetwork
from ncpl.language.settings import LanguageConfig
from ncpl.language.vocabulary import Vocabulary
from ncpl.laws.chinchilla import REFERENCE

WEIGHTS, PICKLE = "model.safetensors", "pytorch_model.bin"
FIELDS = (
    "params_non_embedding", "data_tokens", "n_layers", "n_heads", "d_model", "optimizer",
    "learning_rate", "warmup_steps", "weight_decay", "batch_size_sequences", "grad_clip_norm",
    "min_learning_rate", "train_steps",
)  # fmt: skip
"""Fields given to the model, in order."""
FAMILIES: tuple[Family, ...] = (
    ("marin", "eval/paloma/c4_en/loss", "", "", "nats_per_token"),
    ("steplaw", "train/loss_smoothed", "", "", "nats_per_token"),
)
HALF_WIDTH = 0.1
"""Nats; the authors give no interval, and this one is a guess."""


def load_released(
    folder: Path | str, *, has_curves: bool, base: Path | str | None = None
) -> LanguageBundle:
    """Return the authors' model of a folder with model.safetensors, as a bundle.

    `base` is a folder with config.json and tokenizer.json of Qwen3-1.7B, the same folder if not
    given; `has_curves` is true for NCPL-intermediate. Raises BundleError where the weights are a
    pickle, are missing, or do not fit.
    """
    folder = Path(folder)
    place = folder if base is None else Path(base)
    if not (folder / WEIGHTS).is_file():
        if (folder / PICKLE).is_file():
            raise BundleError(
                f"{folder / PICKLE} is a pickle, which is never loaded here; turn it into "
                f'{WEIGHTS} first, which takes its tensors only: python -c "from '
                f"ncpl.language.released import convert; convert('{folder}')\""
            )
        raise BundleError(f"{folder} holds neither {WEIGHTS} nor {PICKLE}")
    for name in ("config.json", "tokenizer.json"):
        if not (place / name).is_file():
            raise BundleError(f"{place} has no {name}; pass base=FOLDER with that of Qwen3-1.7B")
    try:
        tensors = plain_names(load_file(folder / WEIGHTS))
    except SafetensorError as error:
        raise BundleError(f"{folder / WEIGHTS} is damaged: {error}") from error
    network = LanguageNetwork(new_backbone(read_shape(place)))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise BundleError(
            f"{folder / WEIGHTS} does not fit the shape in {place}: {error}"
        ) from error
    config = LanguageConfig(
        base=str(place), fields=FIELDS, target="reference", point_style="text",
        has_curves=has_curves,
    )  # fmt: skip
    fits = [FamilyFit(f, REFERENCE[f[0]], HALF_WIDTH, {}, (), []) for f in FAMILIES]
    about = {"scores": [], "curve_scores": [], "origin": "OptimizerStudy, arXiv 2602.10300"}
    vocabulary = Vocabulary.from_file(place / "tokenizer.json")
    return LanguageBundle(config, network.eval(), vocabulary, fits, "released", about)


def convert(folder: Path | str) -> Path:
    """Write model.safetensors beside pytorch_model.bin and return its path.

    Only tensors are taken from the pickle. Raises BundleError where it holds anything else.
    """
    file = Path(folder) / PICKLE
    try:
        raw: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BundleError(f"{file} cannot be read as tensors only: {error}") from error
    state = raw.get("model_state_dict", raw.get("model", raw)) if isinstance(raw, dict) else None
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise BundleError(f"{file} holds no model_state_dict of tensors")
    tensors = {name: tensor.contiguous().clone() for name, tensor in plain_names(state).items()}
    replace(file.with_name(WEIGHTS), tensors)
    return file.with_name(WEIGHTS)


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state under the names of the plain network, without the `module.` of a wrapper."""
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}
