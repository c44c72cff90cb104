"""Modded-NanoGPT's logs, against lines read in the originals by eye.

The fixture's two track-1 logs hold the validation lines and the first and last train lines.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.catalog.record import Run
from ncpl_data.ingest.sources import modded_nanogpt as source
from ncpl_data.ingest.studies import modded_nanogpt_logs as step_lines

FIXTURE = Path(__file__).parents[1] / "fixtures" / "modded_nanogpt"
MUON = "track_3_optimization/results/7b8270c5-a9cd-4a73-b7d8-5d86a2d1e428"
COMBINED = "track_3_optimization/results/20260518_soda_fade_3000_n9/batch_combined_stdout"
ALONE = (
    "track_3_optimization/results/20260518_soda_fade_3000_n9/stdout/"
    "soda_fade_official_seed2_20260518_150348"
)
FIRST = "track_1_short/2024-11-08_CastBf16/a833bed8-2fa8-4cfe-af05-58c1cc48bc30"
COPY = "track_1_short/2024-11-10_ScaleShortcuts/a833bed8-2fa8-4cfe-af05-58c1cc48bc30"


def fixture_files() -> dict[str, Path]:
    return {path.name: path for path in FIXTURE.iterdir()}


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    items = list(source.read_jsonl(fixture_files()))
    return {i.run_id.removeprefix("modded_nanogpt/"): i for i in items if isinstance(i, Run)}


@pytest.fixture(scope="module")
def shipped() -> dict[str, Run]:
    origin = source.SOURCE.origins[0]
    paths = origin.bundled_paths()
    assert paths is not None
    return {item.run_id: item for item in origin.read(paths) if isinstance(item, Run)}


@pytest.mark.parametrize(
    ("run", "field", "value"),
    [
        (MUON, "final_loss", 3.27765),
        (MUON, "train_steps", 3_600),
        (MUON, "train_tokens", 3_600 * 524_288),
        (MUON, "status", "finished"),
        (MUON, "notes", "Muon with aux Adam, lr=.02 wd=.01"),
        (MUON, "learning_rate", None),
        (FIRST, "final_loss", 3.2781),
        (FIRST, "train_tokens", None),
        (FIRST, "notes", None),
    ],
)
def test_values_are_those_of_the_log(
    runs: dict[str, Run], run: str, field: str, value: object
) -> None:
    assert getattr(runs[run], field) == value


def test_train_and_validation_lines_are_two_curves(runs: dict[str, Run]) -> None:
    val, train = runs[FIRST].curves
    assert (val.metric, train.metric) == ("validation/loss", "train/loss")
    assert (int(val.step[0]), float(val.value[0])) == (0, 10.8258)
    assert (int(train.step[0]), float(train.value[0])) == (1, 10.8258)


def test_a_log_of_several_runs_is_taken_apart(runs: dict[str, Run]) -> None:
    """Of 217 lines, 21 print steps 3000, 3020, 3040 of a run again; 7 runs of 28 remain."""
    parts = [run for name, run in runs.items() if name.startswith(COMBINED)]
    assert [len(run.curves[0].step) for run in parts] == [28] * 7
    assert all(run.flags == ("several_runs_in_one_log",) for run in parts)
    assert parts[0].final_loss == 3.27569
    assert parts[-1].final_loss == 3.27497


def test_a_log_printed_twice_is_linked_by_its_content(runs: dict[str, Run]) -> None:
    assert runs[ALONE].same_as == (f"modded_nanogpt/{COMBINED}@1",)
    assert runs[COPY].same_as == (f"modded_nanogpt/{FIRST}",)
    assert runs[FIRST].same_as is None


def test_numbers_found_in_a_script_stay_hints(runs: dict[str, Run]) -> None:
    for run in runs.values():
        assert run.optimizer is None
        assert run.learning_rate is None
        assert set(run.raw_config or {}) == {"hints"}


def test_shipped_table_gives_the_same_runs(runs: dict[str, Run], tmp_path: Path) -> None:
    files = fixture_files()
    logs = [log for t in source.TRACKS for log in step_lines.logs_of(files[f"{t}.jsonl.zst"])]
    path = tmp_path / "modded_nanogpt.parquet"
    step_lines.write_compact(logs, path)
    again = source.read_shipped({path.name: path, source.RESULTS: files[source.RESULTS]})
    hashes = [run.content_hash() for run in again if isinstance(run, Run)]
    assert hashes == [run.content_hash() for run in runs.values()]


def test_shipped_table_holds_656_logs_of_841_runs(shipped: dict[str, Run]) -> None:
    assert len(shipped) == 841
    assert len({run.file for run in shipped.values()}) == 656
    points = sum(len(c.step) for run in shipped.values() for c in run.curves)
    assert points == 234_629 - 21
    linked = [run for run in shipped.values() if run.same_as]
    assert len(linked) == 39
    assert all(run.same_as and run.same_as[0] in shipped for run in linked)


def test_a_line_of_another_form_is_named(tmp_path: Path) -> None:
    files = fixture_files()
    name = "track_2_medium.jsonl.zst"
    text = pa.input_stream(files[name], compression="zstd").read()
    path = tmp_path / name
    with pa.output_stream(path, compression="zstd") as out:
        out.write(text.replace(b"val_loss:4.287957", b"val_loss:nan"))
    with pytest.raises(RawFileError, match=r'track_2_medium.*"step:125/5640 val_loss:nan'):
        list(source.read_jsonl(files | {name: path}))
