"""How many parameters a shape has, embeddings left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ncpl.data.sizes import is_mixture, mixture_sizes
from ncpl.forms.names import GATED_TYPES, PLAIN_TYPES

if TYPE_CHECKING:
    from ncpl.forms.understand import Understood


def non_embedding(values: Mapping[str, Any], *, is_gated: bool) -> tuple[float, str] | None:
    """Return parameters of all layers and the rule by which they were counted; None if unknown.

    The matrices of attention, with fewer key and value heads where there are, and of the
    feed-forward layers, three with a gate and two without; norms and biases are left out.
    """
    layers, width, ffn = (values.get(name) for name in ("n_layers", "d_model", "d_ff"))
    if not (layers and width and ffn):
        return None
    attention, rule = _attention(values)
    matrices = 3 if is_gated else 2
    return layers * (attention + matrices * width * ffn), f"{rule} + {matrices} d_model d_ff)"


def with_experts(values: Mapping[str, Any], *, is_gated: bool) -> tuple[float, float, str] | None:
    """Return all and active parameters of a mixture of experts, and the rule; None if unknown.

    Every layer that is not dense has the same experts, and shared ones beside them; routers are
    left out, as norms are.
    """
    sizes = mixture_sizes(values, matrices=3 if is_gated else 2)
    if sizes is None:
        return None
    _, rule = _attention(values)
    name = "d_ff_expert" if values.get("d_ff_expert") else "d_ff"
    more = " + shared" if values.get("d_ff_shared_expert") or values.get("n_shared_experts") else ""
    return *sizes, f"{rule} + {3 if is_gated else 2} d_model (experts x {name}{more}))"


def _attention(values: Mapping[str, Any]) -> tuple[float, str]:
    """Return the parameters of attention in one layer, and the rule's beginning."""
    width, heads = values["d_model"], values.get("n_heads")
    kv = values.get("n_kv_heads") or heads
    head = values.get("head_dim") or (width / heads if heads else None)
    if heads and head and kv:
        attention = 2 * width * head * (heads + kv)
        return attention, "n_layers x (2 d_model head_dim (n_heads + n_kv_heads)"
    return 4 * width**2, "n_layers x (4 d_model^2"


def without_embedding(total: float, values: Mapping[str, Any]) -> tuple[float, str] | None:
    """Return a total less the embedding, once where it is tied; None where one can not tell."""
    vocabulary, width = values.get("vocab_size"), values.get("d_model")
    tied = values.get("is_embedding_tied")
    if not (vocabulary and width) or tied is None:
        return None
    count = 1 if tied else 2
    return total - count * vocabulary * width, f"params_total - {count} x vocab_size x d_model"


def _widths(found: Understood) -> None:
    """State the widths that a program derives from others."""
    config, parts = found.config, found.parts
    width = config.get("d_model")
    aspect = found.number("_aspect")
    if found.program == "nanochat" and config.get("n_layers"):
        own = config["n_layers"] * (aspect or 64)
        head = config.get("head_dim") or 128
        found.set("d_model", -(-own // head) * head, "depth x 64, up to whole heads")
        width = config["d_model"]
        found.set("d_ff", 4 * width, "nanochat: 4 x d_model")
    if found.program == "nanogpt" and width:
        found.set("d_ff", 4 * width, "nanoGPT: 4 x n_embd")
    if found.program == "hf" and width and parts.get("_model_type") in PLAIN_TYPES:
        found.set("d_ff", 4 * width, f"{parts['_model_type']}: 4 x width where n_inner is not set")
    if found.program == "megatron" and width and not parts.get("_is_gated"):
        found.set("d_ff", 4 * width, "Megatron-LM: 4 x hidden_size without swiglu")
    multiple, hidden = found.number("_ffn_multiple"), found.number("_mlp_hidden")
    if found.program == "olmo" and width:
        whole = hidden or (multiple * width if multiple else None)
        if whole:
            gated = _gated(found)
            found.set("d_ff", whole / 2 if gated else whole,
                      "mlp_hidden_size" if hidden else "mlp_ratio x d_model"
                      + (", half of it the gate" if gated else ""))  # fmt: skip


def _count_shape(found: Understood) -> None:
    """Count the parameters from the shape, or say why it does not tell them."""
    config = found.config
    if not is_mixture(config):  # a dense model states none or one in some programs
        for name in ("n_experts", "experts_per_token", "d_ff_expert"):
            config.pop(name, None)
            found.origins.pop(name, None)
    gated, why = _gated(found), _uncounted(found)
    if gated is None and found.program == "own" and is_mixture(config):
        gated = True  # names of ours mean a gate
    if why and "params_non_embedding" not in config:
        found.notes.append(f"{why}: give params_non_embedding")
    if why:
        return
    if gated is None:
        is_asked = config.get("n_layers") and config.get("d_ff")
        if is_asked and "params_non_embedding" not in config and found.program != "own":
            found.notes.append(  # names of ours mean a gate, and the model counts them itself
                "whether the feed-forward layers have a gate is not told: give params_non_embedding"
            )
    elif is_mixture(config):
        sizes = with_experts(config, is_gated=gated)
        if sizes is not None:
            found.set("params_non_embedding", round(sizes[0]), sizes[2])
            found.set("params_active_non_embedding", round(sizes[1]), "the same, experts_per_token")
    else:
        counted = non_embedding(config, is_gated=gated)
        if counted is not None:
            found.set("params_non_embedding", round(counted[0]), counted[1])


def count_size(found: Understood) -> None:
    """Count the parameters from the shape, or take them less the embedding."""
    _widths(found)
    _count_shape(found)
    config, parts = found.config, found.parts
    total, origin = found.number("_params_total"), found.named.get("_params_total")
    if total is None:
        total, origin = config.get("params_total"), "params_total"
    ambiguous = found.number("_params")
    for count in (total, ambiguous):
        if count is not None and "params_non_embedding" not in config:
            less = without_embedding(count, config)
            if less is not None:
                found.set("params_non_embedding", round(less[0]), less[1])
    if "params_non_embedding" not in config and (ambiguous or total):
        name = found.named.get("_params") or origin
        found.notes.append(
            f"{name} may count embeddings: give params_non_embedding, or vocab_size, d_model and "
            "is_embedding_tied"
        )
    for part in ("_flavor", "_model_name"):
        if part in parts and "params_non_embedding" not in config:
            name = f"{found.named[part]} {parts[part]}"
            found.notes.append(f"{name} names a model whose shape is not in the file")


def _uncounted(found: Understood) -> str:
    """Return why a shape does not tell the parameters; empty where it does."""
    parts, config = found.parts, found.config
    if parts.get("_latent"):
        return "keys and values go through a latent, whose size is not read"
    if not config.get("n_experts"):
        return ""
    if parts.get("_sparse_step", 1) not in (1, "1"):
        return f"{found.named['_sparse_step']} leaves some layers without experts"
    if found.program == "nanotron" and not config.get("d_ff_expert"):
        return "the width of one expert is not told"
    return ""


def _gated(found: Understood) -> bool | None:
    """Return whether feed-forward layers have a gate; None where the file does not tell."""
    parts = found.parts
    fixed = {
        "nanogpt": False, "nanochat": False, "megatron": bool(parts.get("_is_gated")),
        "nanotron": True, "torchtitan": True, "olmo_core": True,
    }  # fmt: skip
    if found.program in fixed:
        return fixed[found.program]
    told = {"litgpt": "_mlp_class", "olmo": "_activation", "hf": "_model_type"}
    kind = str(parts.get(told.get(found.program, "")) or "")
    if found.program == "litgpt" and kind:
        return "LLaMA" in kind or "Gemma" in kind
    if found.program == "olmo" and kind:
        return kind.lower() in ("swiglu", "geglu")
    if kind in GATED_TYPES or kind in PLAIN_TYPES:
        return kind in GATED_TYPES
    return None
