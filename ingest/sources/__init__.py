"""Sources: one file a publisher of training logs. A new one is listed here by hand."""

from __future__ import annotations

from collections.abc import Mapping

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.base import Source
from ncpl_data.ingest.sources import (
    chinchilla,
    colpret,
    datablations,
    gemstones,
    losscast,
    lr_scheduling,
    marin,
    modded_nanogpt,
    multipower,
    observational,
    olmo_ladder,
    overtraining,
    regmix,
    scalebench,
    steplaw,
)

SOURCES: Mapping[str, Source] = {
    module.SOURCE.name: module.SOURCE
    for module in (
        steplaw,
        marin,
        losscast,
        multipower,
        lr_scheduling,
        overtraining,
        scalebench,
        datablations,
        gemstones,
        chinchilla,
        olmo_ladder,
        modded_nanogpt,
        regmix,
        observational,
        colpret,
    )
}


def find_source(name: str) -> Source:
    """Return the source of a name.

    Raises InputError for an unknown one.
    """
    if name not in SOURCES:
        raise InputError(f'there is no source "{name}"; known: {", ".join(sorted(SOURCES))}')
    return SOURCES[name]
