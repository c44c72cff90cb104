"""QuEST's bf16 and quantised runs handed in as documents: precision stays apart and is told."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.sources.quest import SOURCE

COLUMNS = ["run_id", "weight_bits", "activation_bits", "final_loss"]


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """All 104 shipped runs, as another lab's."""
    origin = SOURCE.origins[0]
    items = origin.read(origin.bundled_paths() or {})
    return [
        item.with_values(
            run_id=item.run_id.replace("quest/", "bitslab/"),
            source="bitslab",
            file=None,
            file_sha256=None,
            record=None,
            citation=None,
            url=None,
        )
        for item in items
        if isinstance(item, Run)
    ]


@pytest.fixture(scope="module")
def told(runs: list[Run], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """What `submit` answers, and the catalog."""
    folder = tmp_path_factory.mktemp("bits")
    file = folder / "runs.jsonl"
    file.write_text("".join(json.dumps(run.to_document()) + "\n" for run in runs), "utf-8")
    arguments = ["submit", str(file), "--catalog", str(folder / "c"), "--json"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), folder / "c"


def test_each_run_keeps_the_bits_it_was_given(runs: list[Run], told: tuple[Any, Path]) -> None:
    """weight_bits and activation_bits of every run, 1 to 16, are those of the file."""
    rows = Catalog(told[1]).read("runs", COLUMNS).to_pylist()
    assert {tuple(row[c] for c in COLUMNS) for row in rows} == {
        tuple(getattr(run, c) for c in COLUMNS) for run in runs
    }
    counts = Counter(row["weight_bits"] for row in rows)
    assert counts[16] > 0
    assert counts[1] > 0
    assert len(rows) == 104


def test_it_says_what_will_be_learned(told: tuple[Any, Path]) -> None:
    """One family of comparable losses, all of it learned from."""
    outlook = told[0]["outlook"]
    assert (outlook["runs"], outlook["learned"], outlook["not_learned"]) == (104, 104, {})
    assert list(outlook["families"].values()) == [104]


def test_what_still_looks_alike_is_of_one_precision(told: tuple[Any, Path]) -> None:
    """Runs told as one configuration share their bits: only the kind of quantizer differs."""
    advice, *sentences = told[0]["outlook"]["indistinct"]
    assert "model.weight_bits" in advice
    assert sentences
    for sentence in sentences:
        assert len(set(re.findall(r"_w(\d+)a\d+_", sentence))) == 1


def test_a_snapshot_says_that_nothing_of_a_family_is_held_out(told: tuple[Any, Path]) -> None:
    """Under the published split alone; the community one holds a part out."""
    note = "1 other families (104 runs) are in no part of this split"
    said = {}
    for policy in ("ncpl", "community"):
        arguments = ["snapshot", "--split", policy, "--catalog", str(told[1])]
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        said[policy] = note in result.stderr
    assert said == {"ncpl": True, "community": False}
