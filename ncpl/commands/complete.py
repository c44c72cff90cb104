"""What a shell may complete: snapshots of a catalog, sources and families a bundle knows.

A completion that can not be given is none: nothing is printed, whatever is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def completing(names: Callable[[click.Context], Iterable[str]]) -> Complete:
    """Return the completion that offers the names which begin with what is typed."""

    def complete(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
        try:
            return sorted(n for n in set(names(ctx)) if n.startswith(incomplete))
        except Exception:  # noqa: BLE001  no error may break the line somebody types
            return []

    return complete


@completing
def snapshots(ctx: click.Context) -> Iterable[str]:
    """Offer the snapshots of the catalog by their folders' names, and `latest`."""
    from ncpl.data.find import catalog_folder

    given = ctx.params.get("catalog")
    folder = catalog_folder(Path(given) if given else None) / "snapshots"
    return ["latest", *(path.parent.name for path in folder.glob("*/manifest.json"))]


@completing
def sources(ctx: click.Context) -> Iterable[str]:
    """Offer the sources the bundle is trained on."""
    return [str(family[0]) for family in families_of(ctx, None)]


@completing
def families(ctx: click.Context) -> Iterable[str]:
    """Offer the families of the community bundle, and the sources they are of."""
    from ncpl.data.families import name_of

    found = families_of(ctx, "community")
    return [*(str(family[0]) for family in found), *(name_of(tuple(family)) for family in found)]


def families_of(ctx: click.Context, part: str | None) -> list[list[Any]]:
    """Return the families on the card of the bundle that the line so far names."""
    from ncpl.model.bundle import DEFAULT

    folder = Path(ctx.params.get("folder") or DEFAULT)
    card = json.loads(((folder / part) if part else folder).joinpath("card.json").read_bytes())
    return [one["family"] for one in card["families"]]
