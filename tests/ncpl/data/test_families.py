"""Families of comparable losses: which runs a law reads, and why it reads no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ncpl.data.families import as_read, families_in, reason_against, unread_families
from ncpl.data.snapshot import Runs, Snapshot

FIXTURE = Path(__file__).parents[2] / "fixtures" / "snapshot_steplaw"
ROW = {"params_non_embedding": 1e8, "data_tokens": 2e9}


@pytest.mark.parametrize(
    ("row", "unit", "loss", "status", "expected"),
    [
        (ROW, "nats_per_token", 3.0, "finished", ""),
        (ROW, "", 3.0, None, ""),
        (ROW, "bits_per_byte", 1.0, "finished", "losses in bits_per_byte"),
        (ROW, "nats_per_token", np.nan, "finished", "no final loss"),
        (ROW, "nats_per_token", 3.0, "diverged", "are diverged"),
        ({"data_tokens": 2e9}, "nats_per_token", 3.0, "finished", "no size"),
        ({"params_non_embedding": 1e8}, "nats_per_token", 3.0, "finished", "no training tokens"),
        ({**ROW, "n_experts": 8, "params_total": 1e9}, "nats_per_token", 3.0, "finished", ""),
        ({"n_experts": 8, "params_total": 1e9}, "nats_per_token", 3.0, "finished", "no size"),
        ({**ROW, "unique_tokens": 1e9}, "nats_per_token", 3.0, "finished", "seen before"),
    ],
)
def test_a_run_no_law_reads_has_its_reason(
    row: dict[str, Any], unit: str, loss: float, status: str | None, expected: str
) -> None:
    family = ("made", "train/loss", "", "", unit)
    found = reason_against(dict(row), family, loss, status)
    assert expected in found if expected else not found


def test_runs_as_read_carry_what_a_configuration_does_not_hold() -> None:
    """Held-out runs are asked for by the rows that families are placed by."""
    snapshot = Snapshot.open(FIXTURE)
    runs = snapshot.runs()
    families = families_in(snapshot, runs)
    families[0].rows[0]["unique_tokens"] = 1.0  # type: ignore[index]  # as of a repeated run
    found = as_read(runs, families)
    assert len(found) == sum(len(family) for family in families)
    place = found.run_ids.index(families[0].run_ids[0])
    assert found.configs[place]["unique_tokens"] == 1.0
    assert found.configs[place]["data_tokens"] > 0


def test_every_family_is_read_or_has_one_sentence() -> None:
    snapshot = Snapshot.open(FIXTURE)
    runs = snapshot.runs()
    assert unread_families(snapshot, runs) == {}
    other = [(family[0], *family[1:4], "bits_per_byte") for family in runs.family]
    told = unread_families(snapshot, Runs(**{**vars(runs), "family": other}))
    (sentence,) = told.values()
    assert "its runs have losses in bits_per_byte, not in nats per token (2581)" in sentence
