"""The model sizes of Chinchilla's table A9, and which one a count of parameters is.

A count is that of 13 n_layers d_model^2 (five square matrices of attention, relative positions
included, and a plain layer four wide) and one table of 32,000 entries: so come out the sizes the
table names, and the counts of studies that repeat its grid.
"""

from __future__ import annotations

from dataclasses import dataclass

VOCABULARY = 32_000
RULE = (
    "the shape of Hoffmann et al. 2022, table A9, whose 13 n_layers d_model^2 + 32,000 d_model is "
    "the stated count within"
)
SHAPES = (
    (512, 8), (576, 9), (640, 10), (640, 13), (640, 16), (768, 12), (768, 15), (768, 18),
    (896, 14), (896, 16), (896, 18), (1024, 16), (1024, 18), (1024, 20), (1280, 18), (1280, 21),
    (1408, 18), (1280, 24), (1408, 21), (1536, 19), (1408, 24), (1536, 22), (1536, 25),
    (1792, 20), (1792, 23), (1792, 26), (2048, 22), (2176, 22), (2048, 25), (2048, 28),
    (2176, 25), (2304, 24), (2176, 28), (2304, 28), (2304, 32), (2560, 26), (2560, 30),
    (2560, 34), (2688, 36), (2816, 36), (2944, 36), (3072, 36), (3584, 40), (4096, 42),
    (4352, 47), (4608, 44), (4608, 47), (4864, 47), (4992, 49), (5120, 47),
)  # fmt: skip
"""Width and layers. Source: utils/model_params.sh of huggingface/datablations at 1370131."""


@dataclass(frozen=True)
class PaperShape:
    """One size of the table."""

    d_model: int
    n_layers: int
    params_non_embedding: int
    off: float
    """Share by which the stated count differs."""


def shape_of(count: float, tolerance: float) -> PaperShape | None:
    """Return the one shape whose count is the stated one within a share; None if none or two are.

    Of several within it the nearest stands if it is ten times nearer than the next.
    """
    found = []
    for width, layers in SHAPES:
        blocks = 13 * layers * width**2
        found.append(PaperShape(width, layers, blocks, count / (blocks + VOCABULARY * width) - 1))
    first, second = sorted(found, key=lambda shape: abs(shape.off))[:2]
    if abs(first.off) > tolerance:
        return None
    is_clear = abs(second.off) > tolerance or abs(second.off) > 10 * abs(first.off)
    return first if is_clear else None
