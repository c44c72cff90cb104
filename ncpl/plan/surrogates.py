"""Surrogates of the seed papers: final losses from prefixes, without a model of configurations.

Legend: K runs, P points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ncpl.plan.arms import Arms, Array, Prefix

POWERS = np.array([0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5])
LEAST_POINTS = 3
POINTS_A_RUN = 5
LENGTHS, SHARE_LENGTHS, NOISES = (0.3, 1.0, 3.0), (0.7, 2.0), (0.03, 0.15)
"""Scales tried by evidence: of features (each over 0-1), of log share, of noise over the spread."""


def last_value(arms: Arms, places: Sequence[int], prefixes: Sequence[Prefix]) -> Array:
    """Return the last loss of each prefix, nats; infinite where there is none."""
    del arms, places  # the loss says it all
    return np.array([p.loss[-1] if len(p.loss) else np.inf for p in prefixes])


def power_law(arms: Arms, places: Sequence[int], prefixes: Sequence[Prefix]) -> Array:
    """Return the end of a power law with offset fitted to each prefix; the last loss if short."""
    found = last_value(arms, places, prefixes)
    for i, prefix in enumerate(prefixes):
        if len(prefix.loss) < LEAST_POINTS:
            continue
        best = np.inf
        for _, offset, slope, error in offset_powers(prefix.share, prefix.loss, POWERS):
            if slope > 0 and offset > 0 and error < best:
                best, found[i] = error, offset + slope
    return found


def offset_powers(
    share: Array, loss: Array, powers: Array
) -> Iterator[tuple[float, float, float, float]]:
    """Yield (power, offset, slope, squared error) of offset + slope share^-power, best fitted."""
    for power in powers.tolist():
        x = np.column_stack([np.ones(len(share)), share**-power])
        (offset, slope), *_ = np.linalg.lstsq(x, loss, rcond=None)
        error = float(np.square(x @ (offset, slope) - loss).sum())
        yield power, float(offset), float(slope), error


def process(arms: Arms, places: Sequence[int], prefixes: Sequence[Prefix]) -> Array:
    """Return the ends that one Gaussian process over all prefixes tells, one output a run.

    The outputs are tied by what tells the runs apart, sizes included, as in arXiv 2510.16743: a run
    without a point is told by those like it. The kernel is a product over features and log share on
    a line in log share; its scales have the best evidence of a small grid.
    """
    run, x, y = [], [], []
    for i, prefix in enumerate(prefixes):
        if len(prefix.loss):
            pick = np.unique(np.linspace(0, len(prefix.loss) - 1, POINTS_A_RUN).round().astype(int))
            run += [i] * len(pick)
            x += np.log(prefix.share[pick]).tolist()
            y += prefix.loss[pick].tolist()
    if len(y) < LEAST_POINTS:
        return last_value(arms, places, prefixes)
    own = arms.features[list(places)]
    far = np.square(own[:, None] - own[None]).sum(-1)
    at, share, loss = np.array(run), np.array(x), np.array(y)
    line = np.column_stack([np.ones(len(share)), share])
    trend = np.linalg.lstsq(line, loss, rcond=None)[0]
    left = loss - line @ trend
    scale = float(left.std()) or 1e-3
    left = left / scale
    gap, gap_end = np.square(share[:, None] - share[None]), np.square(share)
    best, ends = -np.inf, np.full(len(prefixes), trend[0])
    for length in LENGTHS:
        alike = np.exp(-far / (2 * length**2))
        for share_length in SHARE_LENGTHS:
            cov = alike[np.ix_(at, at)] * np.exp(-gap / (2 * share_length**2))
            to_end = alike[:, at] * np.exp(-gap_end / (2 * share_length**2))
            for noise in NOISES:
                root = np.linalg.cholesky(cov + noise**2 * np.eye(len(left)))
                half = np.linalg.solve(root, left)
                evidence = -0.5 * float(half @ half) - float(np.log(np.diag(root)).sum())
                if evidence > best:
                    best = evidence
                    ends = trend[0] + scale * (to_end @ np.linalg.solve(root.T, half))
    return np.asarray(ends)
