"""A two-layer network on a handful of losses, fitted by L-BFGS: FLP-M's regressor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ncpl.downstream.table import Array

WIDTH = 8
DECAY = 1e-3
MEMBERS = 3


def fit_network(x: Array, y: Array, seed: int = 0) -> Callable[[Array], Array]:
    """Return the mean of a few networks x (n, K) -> y (n,), inputs and target standardised."""
    middle, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
    level, scale = float(y.mean()), float(max(y.std(), 1e-9))
    inputs = (x - middle) / spread
    target = (y - level) / scale
    generator = np.random.default_rng(seed)
    members = [fit_member(inputs, target, generator) for _ in range(MEMBERS)]

    def predict(at: Array) -> Array:
        given = (at - middle) / spread
        said = [forward(member, given)[0] for member in members]
        return np.asarray(level + scale * np.mean(said, axis=0))

    return predict


def fit_member(x: Array, y: Array, generator: np.random.Generator) -> Array:
    """Return the flat parameters of one network."""
    from scipy.optimize import minimize

    start = generator.normal(scale=0.5, size=(x.shape[1] + 2) * WIDTH + 1)

    def objective(z: Array) -> tuple[float, Array]:
        said, hidden = forward(z, x)
        error = said - y
        _, _, out, _ = parts(z, x.shape[1])
        back = np.outer(error, out) * (1 - hidden**2)
        slope = np.concatenate(
            [(x.T @ back).ravel(), back.sum(axis=0), hidden.T @ error, [error.sum()]]
        )
        value = float(error @ error) / 2 + DECAY * len(y) * float(z @ z) / 2
        return value, slope + DECAY * len(y) * z

    return np.asarray(minimize(objective, start, jac=True, method="L-BFGS-B").x)


def parts(z: Array, n_inputs: int) -> tuple[Array, Array, Array, float]:
    """Return weights (K, H), biases (H,), output weights (H,) and the output's bias."""
    end = n_inputs * WIDTH
    return (
        z[:end].reshape(n_inputs, WIDTH),
        z[end : end + WIDTH],
        z[end + WIDTH : end + 2 * WIDTH],
        float(z[-1]),
    )


def forward(z: Array, x: Array) -> tuple[Array, Array]:
    """Return outputs (n,) and hidden values (n, H)."""
    weight, bias, out, level = parts(z, x.shape[1])
    hidden = np.tanh(x @ weight + bias)
    return np.asarray(hidden @ out + level), np.asarray(hidden)
