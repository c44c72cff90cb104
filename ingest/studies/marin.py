"""The Marin optimizer study: shapes, token budgets, and what a run's name says.

A run's name holds the first six hex digits of the MD5 of its fully spelled hyperparameters. The
spelling is that of `marin/optimizer_sweep/*/format.py` in marin-community/marin (Apache-2.0),
read at 97cfef35; the rest of the page is issue marin-community/marin#1290 and `models.py` there.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

SEQUENCE_LENGTH = 4096
VOCAB_SIZE = 128_256
TOKENS_PER_PARAMETER = 20
"""Tokens of ratio 1, for each non-embedding parameter."""
METRIC = "eval/paloma/c4_en/loss"
MISSING_END_FRAC = 0.06
"""Share of a run that may follow its last evaluation. Of LossCast's logs those that lack only the
one at the end stop at 95.5% of the run or later, the others at 92.8% or earlier."""
TOKENIZER = "meta-llama/Meta-Llama-3.1-8B"
DATASET = "dclm_baseline+starcoderdata+proofpile_2"

MIXTURE_WEIGHTS = {"dclm_baseline": 3.8, "starcoderdata": 0.25, "proofpile_2": 0.055}
"""Weights of the mixture, in trillions of tokens (experiments/dclm/tokenize_dclm.py)."""


@dataclass(frozen=True)
class Shape:
    """One of the study's four model sizes."""

    d_model: int
    d_ff: int
    n_heads: int
    n_layers: int = 32

    @property
    def params_non_embedding(self) -> int:
        """Weights of the blocks, the count the token budgets are multiples of."""
        return self.n_layers * (3 * self.d_model * self.d_ff + 4 * self.d_model**2)

    @property
    def params_total(self) -> int:
        """The same with the untied input and output embeddings."""
        return self.params_non_embedding + 2 * VOCAB_SIZE * self.d_model


SHAPES: Mapping[str, Shape] = {
    "130m": Shape(512, 2048, 8),
    "300m": Shape(768, 3072, 12),
    "520m": Shape(1024, 4096, 16),
    "1.2b": Shape(1536, 6144, 24),
}

OPTIMIZERS: Mapping[str, str] = {
    "adamw": "adamw",
    "nadamw": "nadamw",
    "mars": "mars",
    "cautious": "cautious",
    "lion": "lion",
    "mini": "adam_mini",
    "muon": "muon",
    "scion": "scion",
    "kron": "kron",
    "soap": "soap",
    "soape": "soap",  # a later tag of the same optimizer
    "soapb": "soap",
    "sophia": "sophia",
    "mudam": "mudam",
}
"""Optimizer by the study's tag."""

# What the name's digest is taken of. "{steps}" is the step count; the rest are hyperparameters.
_HEAD = "lr{learning_rate}-wd{weight_decay}-minlr{min_lr_ratio}-warmup{warmup}-b1{beta1}-"
_ADAM = _HEAD + "b2{beta2}-gn{max_grad_norm}-steps{steps}eps{epsilon}"
SPELLINGS: Mapping[str, str] = {
    "adamw": _ADAM + "-adamw",
    "nadamw": _ADAM + "-nesterov",
    "mars": _ADAM + "-gamma{gamma}",
    "cautious": _ADAM + "-cautious",
    "adam_mini": _ADAM + "mini",
    "sophia": _ADAM + "-gamma{gamma}-",
    "lion": _HEAD + "b2{beta2}-gn{max_grad_norm}-steps{steps}",
    "muon": _ADAM + "-mueps{muon_epsilon}-momentum{momentum}lr2{muon_to_adam_lr}decay{decay}muon",
    "scion": _HEAD + "gn{max_grad_norm}-steps{steps}mueps{scion_epsilon}-momentum{momentum}"
    "lr2{scion_to_signum_lr}decay{decay}scion",
    "kron": "lr{learning_rate}-wd{weight_decay}-b1{beta1}-plr{preconditioner_lr}"
    "-pis{preconditioner_init_scale}-gn{max_grad_norm}-norm{normalize_grads}"
    "-pgb{partition_grads_into_blocks}-bs{block_size}-pup{preconditioner_update_probability}"
    "-upfs{update_prob_flat_start}-wu{warmup}-steps{steps}minlr{min_lr_ratio}",
    "soap": _HEAD + "b2{beta2}-sb{shampoo_beta}-pf{precondition_frequency}"
    "-pb{partition_grads_into_blocks}bs{block_size}gn{max_grad_norm}-steps{steps}eps{epsilon}-",
    "mudam": "lr{learning_rate}-alr{adam_lr}-wd{weight_decay}-minlr{min_lr_ratio}-warmup{warmup}"
    "-sb1{momentum}-sb2{momentum_2}-b1{beta1}-b2{beta2}-sb{shampoo_beta}-gn{max_grad_norm}"
    "-steps{steps}eps{epsilon}-norm{normalization}amu{another_muon}",
}

UNSWEPT: Mapping[str, Any] = {"max_grad_norm": 1, "min_lr_ratio": 0}
"""Values of the launcher where a configuration leaves the key out (checked by the digests)."""

TINY_EPSILONS = ("1e-25", "9.999999999999999e-26", "1e-30")
"""Spellings of one swept value; the study's own matching treats them as equal."""

NAME = re.compile(
    r"sweep-(?P<size>[\d.]+[mb])-(?P<tag>\d+B)-(?P<group>[a-z].*?)(?P<digest>[0-9a-f]{6})"
    r"(?P<visible>lr\d.*?)-?-(?P<step_hash>[0-9a-f]{6})"
)
BASELINE_NAME = re.compile(
    r"baseline-adam-(?P<size>[\d.]+[mb])-wd(?P<wd>[\d.]+)-step(?P<steps>\d+)-[0-9a-f]{6}"
)


@dataclass(frozen=True)
class MarinName:
    """What a run's name says."""

    size: str
    nominal_tokens: int
    group: str
    """The optimizer's tag with its free-text suffix."""
    digest: str | None
    visible: str
    """The start of the spelled hyperparameters."""

    @property
    def optimizer(self) -> str:
        """The optimizer, by the longest tag the group starts with."""
        tag = max((t for t in OPTIMIZERS if self.group.startswith(t)), key=len)
        return OPTIMIZERS[tag]


def token_budget(size: str, ratio: int) -> int:
    """Return the tokens of a Chinchilla ratio: ratio x 20 x non-embedding parameters."""
    return ratio * TOKENS_PER_PARAMETER * SHAPES[size].params_non_embedding


def budget_of_tag(size: str, tag: str) -> int | None:
    """Return the token budget a name's tag stands for, None if no whole ratio has that tag.

    The tag is the budget's billions, rounded down; one tag is another ratio at another size.
    """
    unit = token_budget(size, 1)
    billions = int(tag.removesuffix("B"))
    tokens = -(-billions * 10**9 // unit) * unit
    return tokens if tokens // 10**9 == billions else None


def steps_of(tokens: int, batch: int) -> int:
    """Return the planned steps: tokens // (sequence x batch), as the launcher has it."""
    return tokens // (SEQUENCE_LENGTH * batch)


@cache
def parse_name(name: str) -> MarinName | None:
    """Return what a run's name says, or None for a name of another form."""
    match = NAME.fullmatch(name)
    if match is not None:
        known = any(match["group"].startswith(tag) for tag in OPTIMIZERS)
        if match["size"] not in SHAPES or not known:
            return None
        tokens = budget_of_tag(match["size"], match["tag"])
        if tokens is None:
            return None
        return MarinName(match["size"], tokens, match["group"], match["digest"], match["visible"])
    match = BASELINE_NAME.fullmatch(name)
    if match is not None and match["size"] in SHAPES:
        return MarinName(match["size"], token_budget(match["size"], 1), "adamw", None, "")
    return None


def spelled(value: Any) -> tuple[str, ...]:
    """Return the ways Python may have printed a value: as it is, then 1 for 1.0 and the like."""
    text = str(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return (text,)
    found = [text]
    if float(value).is_integer():
        found += [str(int(value)), str(float(value))]
    elif 0 < value < 1e-24:
        found += TINY_EPSILONS
    return tuple(dict.fromkeys(found))


@cache
def spelling_keys(optimizer: str) -> tuple[str, ...]:
    """Return the hyperparameters an optimizer's digest is taken of, in their order."""
    return tuple(re.findall(r"{(\w+)}", SPELLINGS[optimizer]))


@cache
def spelling_pieces(optimizer: str) -> tuple[str, ...]:
    """Return the text around the values."""
    return tuple(re.split(r"{\w+}", SPELLINGS[optimizer]))


def spellings(
    optimizer: str, choices: Mapping[str, Sequence[str]], visible: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (spelled text, its values) for all choices that begin as the name shows.

    `choices` gives the spellings of each key of `spelling_keys`, the likely one first.
    """
    keys = spelling_keys(optimizer)
    pieces = spelling_pieces(optimizer)

    # Values the name shows are decided one by one; only the hidden rest is multiplied out.
    def grow(index: int, text: str, values: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if index == len(keys) or len(text) >= len(visible):
            rest = [choices[key] for key in keys[index:]]
            for tail in itertools.product(*rest):
                yield (*values, *tail)
            return
        for value in choices[keys[index]]:
            grown = text + value + pieces[index + 1]
            n = min(len(grown), len(visible))
            if grown[:n] == visible[:n]:
                yield from grow(index + 1, grown, (*values, value))

    for values in grow(0, pieces[0], ()):
        parts = [pieces[0]]
        for value, piece in zip(values, pieces[1:], strict=True):
            parts += (value, piece)
        yield "".join(parts), values


def digest(text: str) -> str:
    """Return the six hex digits a name carries."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:6]


def verify_digest(
    name: str, optimizer: str, config: Mapping[str, Any], train_steps: int
) -> str | None:
    """Return how a configuration agrees with the digest in the run's name.

    "exact": as it is written; "respelled": with 1 for 1.0 or another spelling of a tiny epsilon;
    "wrong": with none; None if the name has no digest or the configuration lacks a key of it.
    """
    named = parse_name(name)
    full = {**UNSWEPT, **config, "steps": train_steps}
    keys = spelling_keys(optimizer)
    if named is None or named.digest is None or any(key not in full for key in keys):
        return None
    text = SPELLINGS[optimizer].format_map(full)
    if text.startswith(named.visible) and digest(text) == named.digest:
        return "exact"
    choices = {key: spelled(full[key]) for key in keys}
    found = spellings(optimizer, choices, named.visible)
    return "respelled" if any(digest(one) == named.digest for one, _ in found) else "wrong"


# What the study says of all its runs: models.py, template.py and defaults.py at 97cfef35.
DECLARED: Mapping[str, Any] = {
    "stage": "pretrain",
    "modality": "text",
    "model_family": "llama",
    "architecture": "decoder",
    "head_dim": 64,
    "vocab_size": VOCAB_SIZE,
    "is_embedding_tied": False,
    "activation": "swiglu",
    "norm": "rmsnorm",
    "position_encoding": "rope",
    "sequence_length": SEQUENCE_LENGTH,
    "dataset": DATASET,
    "tokenizer": TOKENIZER,
    "mixture": tuple(
        {"domain": name, "share_frac": round(weight / sum(MIXTURE_WEIGHTS.values()), 6)}
        for name, weight in MIXTURE_WEIGHTS.items()
    ),
    "precision": "bfloat16",
    "framework": "levanter",
}


def model_fields(size: str) -> dict[str, Any]:
    """Return the columns a model size decides."""
    shape = SHAPES[size]
    return {
        "n_layers": shape.n_layers,
        "d_model": shape.d_model,
        "d_ff": shape.d_ff,
        "n_heads": shape.n_heads,
        "n_kv_heads": shape.n_heads,
        "params_non_embedding": shape.params_non_embedding,
        "params_total": shape.params_total,
    }
