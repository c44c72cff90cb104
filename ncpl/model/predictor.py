"""What every bundle answers to: configurations in, predictions out.

Both kinds of bundle do, and so may a plug-in: whatever has these methods can be scored, drawn and
set on the board.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ncpl.data.fields import Config
from ncpl.data.snapshot import Family
from ncpl.errors import ConfigError
from ncpl.laws.chinchilla import Chinchilla
from ncpl.model.intervals import Intervals


class Predicted(Protocol):
    """A prediction for one configuration; losses in nats per token."""

    @property
    def loss(self) -> float:
        """Return the predicted final loss."""
        ...

    @property
    def low(self) -> float:
        """Return the lower end of the 90% interval."""
        ...

    @property
    def high(self) -> float:
        """Return the upper end of the 90% interval."""
        ...

    @property
    def baseline(self) -> float:
        """Return what the refitted Chinchilla law alone says."""
        ...

    @property
    def source(self) -> str:
        """Return the source whose losses this one is comparable with."""
        ...

    @property
    def warnings(self) -> list[str]:
        """Return where the configuration lies outside training, and what was assumed."""
        ...


class FamilyModel(Protocol):
    """What a bundle holds for one family of comparable losses."""

    @property
    def family(self) -> Family:
        """Return the family it answers for."""
        ...

    @property
    def baseline(self) -> Chinchilla:
        """Return the law of size and data refitted on its training runs."""
        ...

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the fields it reads by name; none where it reads the configuration as text."""
        ...

    @property
    def seeds(self) -> list[int]:
        """Return the seeds of its members."""
        ...


class Predictor(Protocol):
    """A bundle of either kind."""

    snapshot_id: str
    about: dict[str, Any]

    @property
    def fits(self) -> Sequence[FamilyModel]:
        """Return what it holds, one a family."""
        ...

    def predict(self, configs: Sequence[Config], *, nearest: int = 0) -> Sequence[Predicted]:
        """Return one prediction for each configuration. Raises ConfigError for a wrong one."""
        ...

    def curves(
        self, configs: Sequence[Config], fractions: Sequence[float]
    ) -> npt.NDArray[np.float64]:
        """Return losses along the run (B, P), at shares of the run above 0 and up to 1."""
        ...

    def intervals(self, fit: Any, configs: Sequence[Config]) -> Intervals:
        """Return losses and 90% intervals of configurations of one of its families."""
        ...

    def fit_for(self, row: Config, number: int = 1) -> FamilyModel:
        """Return what answers for a derived configuration. Raises ConfigError for none."""
        ...

    def card(self) -> dict[str, Any]:
        """Return everything but the weights."""
        ...


class Loaded(Predictor, Protocol):
    """A bundle that was opened, and can be given on."""

    folder: Path | None

    def save(self, folder: Path) -> None:
        """Write the bundle into a folder."""
        ...

    def push_to_hub(
        self,
        repository: str,
        *,
        licence: str = "apache-2.0",
        is_private: bool = False,
        revision: str = "main",
    ) -> str:
        """Make a model repository of the hub hold this bundle and return the commit."""
        ...


F = TypeVar("F", bound=FamilyModel)


COPIES = frozenset(("losscast", "ncpl_logs", "scalebench"))
"""Sources that hold runs of others under names of their own."""


def answering(fits: Sequence[F], row: Mapping[str, Any], number: int) -> F:
    """Return the fit that answers for a derived configuration.

    That of its source, else of its data and tokenizer, else the first.

    Raises ConfigError, naming the `number` of the configuration, when size or data are missing or
    the source is unknown.
    """
    for name, how in (
        ("params_non_embedding", "or n_layers, d_model and d_ff"),
        ("data_tokens", "as train_tokens, or train_steps with the batch and sequence length"),
    ):
        if not row.get(name):
            raise ConfigError(f"configuration {number}: {name} is missing; give it, {how}")
    source = row.get("source")
    for fit in fits:
        if source == fit.family[0]:
            return fit
    own = of_data(fits, row) if source is None or source in COPIES else None
    if own is not None:
        return own
    if source is None and fits:
        return fits[0]
    known = ", ".join(sorted({fit.family[0] for fit in fits}))
    raise ConfigError(
        f"configuration {number}: this bundle knows no source {source!r}; it has {known}"
    )


def of_data(fits: Sequence[F], row: Mapping[str, Any]) -> F | None:
    """Return the one fit whose data set and tokenizer a configuration names; None if none is.

    So a copy of a run, under the source that copied it or none, is answered as the run itself.
    """
    stated = (row.get("dataset"), row.get("tokenizer"))
    if not all(stated):
        return None
    found = [fit for fit in fits if fit.family[2:4] == stated]
    return found[0] if len(found) == 1 else None
