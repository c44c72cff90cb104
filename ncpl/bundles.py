"""Bundle folders of either kind, opened."""

from __future__ import annotations

from pathlib import Path

from ncpl.errors import BundleError
from ncpl.model.bundle import DEFAULT, Bundle, read_card
from ncpl.model.bundle import load as load_own
from ncpl.model.predictor import Predictor


def load(path: Path | str | None = None) -> Predictor:
    """Return the bundle of a folder, or the one that ships with the package.

    Raises BundleError if there is none, or its files, configuration and card do not match.
    """
    folder = DEFAULT if path is None else Path(path)
    if str(read_card(folder).get("format")).startswith("ncpl-language/"):
        from ncpl.language.bundle import load as load_language

        return load_language(folder)
    return load_own(folder)


def load_ensemble(path: Path | str | None = None, *, what: str) -> Bundle:
    """Return the bundle of a folder as `load` does, for what only an ensemble can give.

    Raises BundleError, naming `what`, for a bundle of the paper's mode.
    """
    found = load(path)
    if not isinstance(found, Bundle):
        raise BundleError(
            f"{path} is a bundle of the paper's mode, which has no {what}; name one of the other "
            "kind, or none for that of the package"
        )
    return found
