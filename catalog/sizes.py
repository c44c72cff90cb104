"""Parameter counts by rule: from each other, and from the shape of the network.

The rule counts the matrices of a pre-norm transformer decoder: queries, keys, values and output of
attention, two matrices of a plain feed-forward layer or three of a gated one, a router and experts
where there are some, and biases and norms where the run says it has them. It refuses, with what it
lacks, wherever a part of the shape is not stated: a plain layer counted as a gated one is off by a
third. What each law and paper means by N: docs/sizes.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RULE = "sizes/1"
"""Version of the rule; it stands in the origin of every value it gives."""

GATED = frozenset(("swiglu", "geglu", "reglu", "glu", "bilinear"))
PLAIN = frozenset(("gelu", "relu", "relu2", "relu_squared", "squared_relu"))
"""Activations whose name says how many matrices there are. "silu" alone does not."""
NORM_WIDTHS = {"rmsnorm": 1, "layernorm": 2, "layernorm_no_bias": 1, "none": 0, "parameter_free": 0}
"""Vectors of one norm: a scale, or a scale and a shift."""
NORMS_OF_BLOCK = 2
TOLERANCE = 0.01
"""Share by which a source's own count may differ from that of its shape before it is told."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Counted:
    """Parameters of a shape, embeddings left out."""

    total: int
    active: int
    """Those that one token passes through."""
    rule: str


@dataclass(frozen=True)
class Missing:
    """What a rule would need; each entry is one field, or several of which one is enough."""

    fields: tuple[str, ...]


def is_gated(row: Row) -> bool | None:
    """Return whether the feed-forward layer is gated; None where the run does not say."""
    if row.get("is_ffn_gated") is not None:
        return bool(row["is_ffn_gated"])
    name = str(row.get("activation") or "").lower()
    return True if name in GATED else False if name in PLAIN else None


def attention_widths(row: Row) -> tuple[int, int] | Missing:
    """Return the widths of queries and of keys; they are what `attention` and the heads say."""
    width, heads, kv_heads = row.get("d_model"), row.get("n_heads"), row.get("n_kv_heads")
    head = row.get("head_dim")
    kind = row.get("attention")
    if kind not in (None, "multi_head", "grouped_query", "multi_query"):
        return Missing((f"a count of its own: attention is {kind}",))
    if kind == "multi_head" and heads is None and head is None and width:
        return width, width
    if heads is None:
        return Missing(("n_heads or attention multi_head",))
    if kind == "multi_head":
        kv_heads = kv_heads or heads
    if kind == "multi_query":
        kv_heads = kv_heads or 1
    if kv_heads is None:
        return Missing(("n_kv_heads or attention",))
    if head is None:
        if not width or width % heads:
            return Missing(("head_dim",))
        head = width // heads
    return heads * head, kv_heads * head


def shape_count(row: Row) -> Counted | Missing:
    """Return the non-embedding parameters that a run's shape gives, or what it lacks for that."""
    unusual = unusual_shape(row)
    if unusual:
        return Missing((f"a count of its own: {unusual}",))
    layers, width = row.get("n_layers"), row.get("d_model")
    missing = [name for name in ("n_layers", "d_model") if not row.get(name)]
    widths = attention_widths(row)
    if isinstance(widths, Missing):
        missing += widths.fields
    gated = is_gated(row)
    if gated is None:
        missing.append("is_ffn_gated or activation")
    experts = row.get("n_experts") or 1
    missing += [] if row.get("d_ff") or (experts > 1 and row.get("d_ff_expert")) else ["d_ff"]
    if experts > 1:
        missing += [
            name for name in ("experts_per_token", "n_dense_layers") if row.get(name) is None
        ]
    if missing or isinstance(widths, Missing):
        return Missing(tuple(missing))
    assert layers is not None
    assert width is not None
    queries, keys = widths
    matrices = 3 if gated else 2
    attention = 2 * width * queries + 2 * width * keys
    extra, told = biases_and_norms(row, queries, keys, matrices)
    dense = matrices * width * (row.get("d_ff") or 0)
    total = active = layers * (attention + extra[0]) + extra[1]
    if experts > 1:
        n_dense = int(row["n_dense_layers"])
        expert = matrices * width * int(row.get("d_ff_expert") or row["d_ff"])
        shared = matrices * width * int(row.get("d_ff_shared_expert") or 0)
        router = width * experts
        n_moe = layers - n_dense
        total += n_dense * dense + n_moe * (experts * expert + shared + router)
        active += n_dense * dense + n_moe * (int(row["experts_per_token"]) * expert + shared)
        active += n_moe * router
        told += "; experts, shared experts and router counted"
    else:
        total += layers * dense
        active = total
    form = f"attention 2 d (q + kv) with q {queries} and kv {keys}, feed-forward {matrices} d d_ff"
    return Counted(total, active, f"{RULE}: n_layers x ({form}){told}")


def unusual_shape(row: Row) -> str | None:
    """Return what makes the rule of a plain decoder say nothing of a run."""
    if (row.get("architecture") or "decoder") != "decoder":
        return f"architecture is {row['architecture']}"
    for name in ("n_recurrent_steps", "n_parallel_streams"):
        if (row.get(name) or 1) > 1:
            return f"{name} is {row[name]}"
    return None


def biases_and_norms(
    row: Row, queries: int, keys: int, matrices: int
) -> tuple[tuple[int, int], str]:
    """Return the vectors of one block and of the network's end, and the words for the rule.

    Both are counted where the run says that it has them; they are less than a hundredth.
    """
    width, ff = int(row["d_model"]), int(row.get("d_ff") or 0)
    block = end = 0
    told = ""
    if row.get("has_bias"):
        block += queries + 2 * keys + width + (matrices - 1) * ff + width
        told += ", with biases"
    vectors = NORM_WIDTHS.get(str(row.get("norm") or "").lower())
    if vectors:
        block += NORMS_OF_BLOCK * vectors * width
        end += vectors * width
        told += f", with {row['norm']}"
    return (block, end), told


def embedding_count(row: Row) -> int | Missing:
    """Return the parameters of input and output embeddings, learned positions included."""
    missing = [
        name for name in ("vocab_size", "d_model", "is_embedding_tied") if row.get(name) is None
    ]
    learned = row.get("position_encoding") == "learned"
    if learned and row.get("sequence_length") is None:
        missing.append("sequence_length")
    if missing:
        return Missing(tuple(missing))
    tables = 1 if row["is_embedding_tied"] else 2
    positions = int(row["sequence_length"]) if learned else 0
    return int(row["d_model"]) * (tables * int(row["vocab_size"]) + positions)


def sizes(row: Row) -> dict[str, tuple[int, str]]:
    """Return the counts a run lacks and the rules give: column to value and rule.

    The source's own counts come before those of the shape: what follows from them follows first.
    """
    found: dict[str, tuple[int, str]] = {}

    def known(name: str) -> int | None:
        value = row.get(name)
        return int(value) if value is not None else found[name][0] if name in found else None

    def give(name: str, value: int | None, rule: str) -> None:
        if value is not None and value > 0 and known(name) is None:
            found[name] = (value, rule if rule.startswith(RULE) else f"{RULE}: {rule}")

    embeddings = embedding_count(row)
    tables = embeddings if isinstance(embeddings, int) else None
    dense = (row.get("n_experts") or 1) == 1
    for one, other in (("params_total", "params_active"), ("params_active", "params_total")):
        if dense:
            give(one, known(other), f"{other}: without experts every parameter is active")
    for whole, part in WHOLES:
        count = known(whole)
        if count is not None and tables is not None:
            give(part, count - tables, f"{whole} - embeddings of {tables:,}")
    if dense:  # what the source counts comes before its shape
        blocks = known("params_non_embedding")
        give("params_active_non_embedding", blocks, "params_non_embedding: no experts")
    shape = shape_count(row)
    if isinstance(shape, Counted):
        give("params_non_embedding", shape.total, shape.rule)
        give("params_active_non_embedding", shape.active, shape.rule)
    for whole, part in WHOLES:
        count = known(part)
        if count is not None and tables is not None:
            give(whole, count + tables, f"{part} + embeddings of {tables:,}")
    return found


WHOLES = (
    ("params_total", "params_non_embedding"),
    ("params_active", "params_active_non_embedding"),
)


def off_shape(row: Row) -> str | None:
    """Return how a source's own count differs from its shape's by more than a hundredth."""
    shape = shape_count(row)
    stated = row.get("params_non_embedding")
    if not isinstance(shape, Counted) or not stated:
        return None
    off = stated / shape.total - 1
    if abs(off) <= TOLERANCE:
        return None
    return (
        f"{stated:,} non-embedding parameters stated, {off:+.1%} of the {shape.total:,} of the "
        f"shape ({shape.rule})"
    )


def needed_for_size(row: Row) -> tuple[str, ...]:
    """Return what would give a run its non-embedding count; the shorter of the two ways."""
    if "params_non_embedding" in sizes(row) or row.get("params_non_embedding"):
        return ()
    shape, tables = shape_count(row), embedding_count(row)
    ways = [part.fields for part in (shape, tables) if isinstance(part, Missing)]
    if row.get("params_total") is None:
        ways = [shape.fields] if isinstance(shape, Missing) else []
    return min(ways, key=len, default=())
