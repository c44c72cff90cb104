"""What a shell may complete: sources, runs, snapshots and families of the catalog meant.

A completion that can not be given is none: nothing is printed, whatever is wrong with the catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from ncpl_data.ingest.options import resolve_catalog

MAX_NAMES = 200
"""So many names are offered at most: a catalog has tens of thousands of runs."""

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def completing(names: Callable[[click.Context, str], Iterable[str]]) -> Complete:
    """Return the completion that offers the names which begin with what is typed."""

    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        try:
            found = sorted(n for n in set(names(ctx, incomplete)) if n.startswith(incomplete))
        except Exception:  # noqa: BLE001  no error may break the line somebody types
            return []
        # The last one stays, so that a shell sees how much all of them have in common.
        return found if len(found) <= MAX_NAMES else [*found[: MAX_NAMES - 1], found[-1]]

    return complete


def catalog_of(ctx: click.Context) -> Any:
    """Return the catalog that the line so far names."""
    from ncpl_data.catalog.store import Catalog

    given = ctx.params.get("catalog_folder")
    return Catalog(resolve_catalog(Path(given) if given else None))


@completing
def sources(_ctx: click.Context, _typed: str) -> Iterable[str]:
    """Offer the sources there are."""
    from ncpl_data.ingest.sources import SOURCES

    return SOURCES


@completing
def runs(ctx: click.Context, typed: str) -> Iterable[str]:
    """Offer the runs of the catalog; those of one source once its name is typed."""
    source = typed.partition("/")[0] if "/" in typed else None
    found = catalog_of(ctx).read("runs", ["run_id"], source=source)["run_id"].to_pylist()
    return [str(name) for name in found]


@completing
def snapshots(ctx: click.Context, _typed: str) -> Iterable[str]:
    """Offer the snapshots of the catalog by their folders' names, and `latest`."""
    folder = catalog_of(ctx).root / "snapshots"
    return ["latest", *(path.parent.name for path in folder.glob("*/manifest.json"))]
