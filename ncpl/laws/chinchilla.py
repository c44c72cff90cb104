"""Chinchilla: loss from model size and data, L = a N^-alpha + b D^-beta + c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ncpl.laws.base import Array, Inputs, Law, LawFit, Parameter, columns_of
from ncpl.laws.fitting import fit_law


def log_loss(theta_KP: Array, inputs: Inputs) -> Array:
    """Return log predictions (K, n) as one log-sum-exp over the three terms."""
    a, alpha, b, beta, c = columns_of(theta_KP)
    log_n = np.log(inputs["params_non_embedding"] / 1e6)
    log_d = np.log(inputs["train_tokens"] / 1e9)
    model, data = np.log(a) - alpha * log_n, np.log(b) - beta * log_d
    floor = np.log(c)
    top = np.maximum(np.maximum(model, data), floor)
    return np.asarray(top + np.log(np.exp(model - top) + np.exp(data - top) + np.exp(floor - top)))


LAW = Law(
    name="chinchilla",
    title="Chinchilla, parametric form",
    formula="L = a (N/1e6)^-alpha + b (D/1e9)^-beta + c",
    citation="Hoffmann et al. 2022, arXiv 2203.15556, section 3.3 (approach 3): Huber 1e-3 on log "
    "loss, log-sum-exp, L-BFGS from a grid of starts",
    inputs={"params_non_embedding": "parameters", "train_tokens": "tokens"},
    parameters=(
        Parameter("a", "nats per token at N = 1M", 1e-3, 1e3, (0.3, 20.0), "log"),
        Parameter("alpha", "", 1e-3, 3.0, (0.1, 0.8)),
        Parameter("b", "nats per token at D = 1B", 1e-3, 1e2, (0.1, 5.0), "log"),
        Parameter("beta", "", 1e-3, 3.0, (0.1, 0.8)),
        Parameter("c", "nats per token", 1e-3, 1e2, (0.7, 2.5), "log"),
    ),
    function=log_loss,
)


@dataclass(frozen=True)
class Chinchilla:
    """The five numbers; N in millions of non-embedding parameters, D in billions of tokens."""

    a: float
    alpha: float
    b: float
    beta: float
    c: float

    def predict(self, params_non_embedding: npt.ArrayLike, train_tokens: npt.ArrayLike) -> Array:
        """Return losses in nats per token from raw counts (parameters, tokens)."""
        n = np.asarray(params_non_embedding, dtype=np.float64) / 1e6
        d = np.asarray(train_tokens, dtype=np.float64) / 1e9
        return np.asarray(self.a * n**-self.alpha + self.b * d**-self.beta + self.c)


# Repository zhqwqwq/Configuration-to-Performance-Scaling-Law (MIT): the constants under NCPL's
# residual. They follow the best run of each (N, D), so they are a floor of the loss, not its mean.
REFERENCE: dict[str, Chinchilla] = {
    "marin": Chinchilla(
        a=3.997941824, alpha=0.441741384, b=0.825145633, beta=0.167645105, c=2.281416529
    ),
    "steplaw": Chinchilla(
        a=1.852401202, alpha=0.125764805, b=0.730826108, beta=0.333738955, c=1.212288821
    ),
}


def fit(
    params_non_embedding: npt.ArrayLike,
    train_tokens: npt.ArrayLike,
    loss: npt.ArrayLike,
    *,
    seed: int = 0,
    n_starts: int = 20,
) -> Chinchilla:
    """Return the law fitted to losses in nats per token at raw counts of parameters and tokens."""
    return of_fit(fit_full(params_non_embedding, train_tokens, loss, seed=seed, n_starts=n_starts))


def fit_full(
    params_non_embedding: npt.ArrayLike,
    train_tokens: npt.ArrayLike,
    loss: npt.ArrayLike,
    **options: Any,
) -> LawFit:
    """Return the same fit with its errors and warnings; options as in `fit_law`."""
    inputs = {"params_non_embedding": params_non_embedding, "train_tokens": train_tokens}
    return fit_law(LAW, inputs, loss, **options)


def of_fit(fitted: LawFit) -> Chinchilla:
    """Return the five numbers of a fitted law."""
    return Chinchilla(**fitted.values)
