"""Whether a name is that of a source, told without loading all of them."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from ncpl_data.ingest.plugins import GROUP, find_plugins

FOLDER = Path(__file__).parent / "sources"
"""One file a source, which has its name."""


def is_source(name: str) -> bool:
    """Return whether a source of ours, or a sound one of another package, has a name."""
    if name in {path.stem for path in FOLDER.glob("[!_]*.py")}:
        return True
    entries = entry_points(group=GROUP, name=name)
    return any(plugin.source is not None for plugin in find_plugins((), entries))
