"""The card of a bundle that something is added to after its training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncpl.evaluate.card import render
from ncpl.model.bundle import CARD, read_card
from ncpl.model.seal import seal


def put_on_card(folder: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Put an entry on a bundle's card and page, and seal its folder again."""
    card = read_card(folder)
    card[name] = dict(entry)
    text = json.dumps(card, indent=1, allow_nan=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(render(card), encoding="utf-8")
    if (folder / "community").is_dir():
        seal(folder / "community")
    seal(folder)
