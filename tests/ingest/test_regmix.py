"""RegMix, against rows read in the original tables by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run, Skipped
from ncpl_data.ingest.sources.regmix import SOURCE, read

FIXTURE = Path(__file__).parents[1] / "fixtures" / "regmix"


def fixture_contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in FIXTURE.iterdir()}


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    return {
        item.run_id.removeprefix("regmix/"): item
        for item in read(fixture_contents())
        if isinstance(item, Run)
    }


def test_mixture_and_losses_pair_by_index(runs: dict[str, Run]) -> None:
    """Row 0 of the 1B tables: arxiv .123 and uspto .307; losses 1.772475243 and 2.050786957."""
    run = runs["test_1B_0000"]
    shares = {part["domain"]: part["share_frac"] for part in run.mixture or ()}
    assert len(shares) == 17
    assert (shares["arxiv"], shares["uspto_backgrounds"], shares["nih_exporter"]) == (
        0.123,
        0.307,
        0,
    )
    losses = {m["name"]: m["value"] for m in run.metrics or ()}
    assert len(losses) == 13
    assert losses["validation/arxiv"] == 1.772475243
    assert losses["validation/uspto_backgrounds"] == 2.050786957
    assert run.final_loss == losses["validation/pile_cc"] == 2.932116032


def test_sizes_share_mixtures_but_not_losses(runs: dict[str, Run]) -> None:
    small, large = runs["test_1m_0001"], runs["test_60m_0001"]
    assert small.mixture == large.mixture
    assert (small.final_loss, large.final_loss) == (5.318245887756348, 4.253109455108643)
    assert small.nominal_train_tokens == 1_000_000_000
    assert large.nominal_train_tokens is None  # nobody states it


def test_rounded_shares_are_left_as_they_stand(runs: dict[str, Run]) -> None:
    sums = [sum(part["share_frac"] for part in run.mixture or ()) for run in runs.values()]
    assert all(0.995 < total < 1.005 for total in sums)


def test_shipped_tables_hold_1088_runs() -> None:
    origin = SOURCE.origins[0]
    paths = origin.bundled_paths()
    assert paths is not None
    found = [item for item in origin.read(paths) if isinstance(item, Run)]
    assert len({run.run_id for run in found}) == 1_088
    by_set = [run.run_id.removeprefix("regmix/").rsplit("_", 1)[0] for run in found]
    assert {name: by_set.count(name) for name in set(by_set)} == {
        "train_1m": 512,
        "test_1m": 256,
        "test_60m": 256,
        "test_1B": 64,
    }


def test_a_mixture_without_losses_is_kept_as_a_reject() -> None:
    contents = fixture_contents()
    name = "test_pile_loss_1B.csv"
    contents[name] = b"\n".join(contents[name].splitlines()[:-1]) + b"\n"
    skipped = [item for item in read(contents) if isinstance(item, Skipped)]
    assert [item.reason for item in skipped] == ["mixture without losses"]


def test_a_file_of_another_form_is_refused_with_its_name() -> None:
    contents = fixture_contents() | {"train_pile_loss_1m.csv": b"index,loss\n1,2\n"}
    with pytest.raises(RawFileError, match=r"train_pile_loss_1m\.csv: no column that starts"):
        list(read(contents))
