"""Files added to a bundle that stands: arrays beside its weights, on its card by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ncpl.data.schedules import Array
from ncpl.errors import BundleError


def write_added(path: Path, tensors: Mapping[str, Array]) -> str:
    """Write arrays (safetensors) and return the file's hash, for the card."""
    from safetensors.numpy import save_file

    save_file({name: np.array(values, order="C") for name, values in tensors.items()}, path)
    path.chmod(0o644)  # safetensors writes files for their owner only
    return _sha256(path)


@contextmanager
def added(path: Path, entry: Mapping[str, Any]) -> Iterator[dict[str, Array]]:
    """Give the arrays of the file that an entry of a card is of.

    Raises BundleError where it is another file, or where what is made of its arrays inside the
    block fails for lack of one, or for its shape.
    """
    if not path.is_file() or _sha256(path) != entry.get("sha256"):
        raise BundleError(f"{path} is not the file the card was written for; train it again")
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        yield load_file(path)
    except (LookupError, TypeError, ValueError, SafetensorError) as error:
        raise BundleError(f"{path} does not fit the card ({error}); train it again") from error


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
