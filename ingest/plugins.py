"""Sources of other packages, found through the entry-point group `ncpl_data.sources`.

A package offers one with

    [project.entry-points."ncpl_data.sources"]
    acme_sweeps = "acme_ncpl.sweeps:SOURCE"

An entry that can not be loaded, is no source, or takes a name that is taken is left out and
named, so that one broken package never stands in the way of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from ncpl_data.ingest.base import Source

GROUP = "ncpl_data.sources"


@dataclass(frozen=True)
class Plugin:
    """One entry point: the source it gives, or why it gives none."""

    name: str
    distribution: str
    source: Source | None = None
    problem: str | None = None


def find_plugins(
    taken: Collection[str], entries: Iterable[EntryPoint] | None = None
) -> list[Plugin]:
    """Return every entry of the group, loaded; by default those of the installed packages."""
    found: list[Plugin] = []
    names = dict.fromkeys(taken, "ncpl-data")
    group = entry_points(group=GROUP) if entries is None else entries
    for entry in sorted(group, key=lambda e: (e.name, distribution_of(e))):
        plugin = load(entry)
        if plugin.source is not None:
            owner = names.setdefault(entry.name, plugin.distribution)
            if owner != plugin.distribution:
                problem = f'the name "{entry.name}" is taken by {owner}'
                plugin = Plugin(entry.name, plugin.distribution, problem=problem)
        found.append(plugin)
    return found


def load(entry: EntryPoint) -> Plugin:
    """Return one entry, loaded."""
    distribution = distribution_of(entry)
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 a plug-in may raise anything
        problem = f"{type(error).__name__}: {error}"
        return Plugin(entry.name, distribution, problem=problem)
    source = getattr(found, "SOURCE", found)
    if not isinstance(source, Source):
        problem = f'"{entry.value}" is a {type(found).__name__}; expected a Source'
        return Plugin(entry.name, distribution, problem=problem)
    if source.name != entry.name:
        problem = f'the source calls itself "{source.name}"; expected "{entry.name}"'
        return Plugin(entry.name, distribution, problem=problem)
    return Plugin(entry.name, distribution, source)


def distribution_of(entry: EntryPoint) -> str:
    """Return the name and version of the package behind an entry."""
    return "unknown" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
