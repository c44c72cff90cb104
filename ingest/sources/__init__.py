"""Sources: one file a publisher of training logs. A new one is listed here by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.base import Source
from ncpl_data.ingest.plugins import find_plugins
from ncpl_data.ingest.sources import (
    chinchilla,
    colpret,
    datablations,
    gemstones,
    kyo_takano,
    loss_to_loss,
    losscast,
    lr_scheduling,
    marin,
    marin_isoflops,
    marin_speedruns,
    misfitting,
    modded_nanogpt,
    multipower,
    ncpl_logs,
    observational,
    olmo_ladder,
    overtraining,
    parameter_golf,
    quest,
    regmix,
    rig,
    routed_lms,
    scalebench,
    steplaw,
    xlstm_scaling,
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
        ncpl_logs,
        routed_lms,
        loss_to_loss,
        parameter_golf,
        quest,
        rig,
        marin_speedruns,
        kyo_takano,
        misfitting,
        marin_isoflops,
        xlstm_scaling,
    )
}


def all_sources(notify: Callable[[str], None] = lambda _: None) -> dict[str, Source]:
    """Return our sources and those of other packages; broken ones are named and left out."""
    found = dict(SOURCES)
    for plugin in find_plugins(SOURCES):
        if plugin.source is None:
            notify(f"plug-in {plugin.name} of {plugin.distribution} is skipped: {plugin.problem}")
        else:
            found[plugin.name] = plugin.source
    return found


def find_source(name: str) -> Source:
    """Return the source of a name.

    Raises InputError for an unknown one.
    """
    if name in SOURCES:
        return SOURCES[name]
    known = all_sources()
    if name not in known:
        raise InputError(f'there is no source "{name}"; known: {", ".join(sorted(known))}')
    return known[name]
