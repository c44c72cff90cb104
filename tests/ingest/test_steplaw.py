from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from ncpl_data.catalog.record import Run
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.sources.steplaw import SOURCE

UPSTREAM, SCALEBENCH = SOURCE.origins[:2]
Runner = Callable[..., Result]


@pytest.fixture(scope="module")
def shipped() -> dict[str, Run]:
    paths = SCALEBENCH.bundled_paths()
    assert paths is not None
    return {run.run_id: run for run in SCALEBENCH.read(paths) if isinstance(run, Run)}


@pytest.fixture
def excerpt(fixtures: Path) -> dict[str, Run]:
    paths = {
        file.name: file.bundled_path() or fixtures / "steplaw" / file.name
        for file in UPSTREAM.files
    }
    return {run.run_id: run for run in UPSTREAM.read(paths) if isinstance(run, Run)}


def test_the_shipped_copy_holds_2819_runs_of_seven_sizes(shipped: dict[str, Run]) -> None:
    assert len(shipped) == 2819
    assert sum(run.source_run is not None for run in shipped.values()) == 2581
    assert Counter(run.params_non_embedding for run in shipped.values()) == {
        59_968_512: 138,
        119_992_320: 119,
        214_663_680: 506,
        268_304_384: 629,
        429_260_800: 576,
        536_872_960: 470,
        1_073_741_824: 381,
    }


def test_both_origins_name_one_physical_run_alike(
    shipped: dict[str, Run], excerpt: dict[str, Run]
) -> None:
    both = shipped.keys() & excerpt.keys()
    finished = {
        i for i, run in excerpt.items() if run.status == "finished" and run.n_experts is None
    }
    assert both == finished
    for run_id in both:
        ours, copy = excerpt[run_id], shipped[run_id]
        assert ours.final_loss == pytest.approx(copy.final_loss, abs=1e-12)
        for column in ("train_tokens", "nominal_train_tokens", "d_ff", "params_non_embedding"):
            assert getattr(ours, column) == getattr(copy, column), column
        assert copy.source_run in (ours.source_run, None)
        assert (ours.is_copy, copy.is_copy) == (False, True)


def test_target_is_the_smoothed_loss_and_the_last_batch_is_kept(excerpt: dict[str, Run]) -> None:
    run = excerpt["steplaw/dense_h960_ffnh9368_numh15_numl7_lr3.453e-04_bs736_ti66342"]
    assert run.final_loss == 2.3976109618296744
    assert run.metrics is not None
    assert [(m["name"], m["value"]) for m in run.metrics] == [
        ("train/loss_smoothed", 2.3976109618296744),
        ("train/loss", 2.413517),
    ]


def test_a_diverged_run_is_kept_with_its_status(excerpt: dict[str, Run]) -> None:
    by_status = Counter(run.status for run in excerpt.values())
    assert by_status == {"finished": 7, "diverged": 1}
    (diverged,) = (run for run in excerpt.values() if run.status == "diverged")
    assert diverged.final_loss is not None
    assert diverged.final_loss > 4


def test_names_spelled_differently_are_read_alike(excerpt: dict[str, Run]) -> None:
    spelled = [run for run in excerpt.values() if "E-" in (run.source_run or "")]
    assert spelled
    assert all(run.min_learning_rate == 1e-5 for run in excerpt.values())


def test_tokens_are_batch_times_sequence_times_steps(
    shipped: dict[str, Run], excerpt: dict[str, Run]
) -> None:
    for run in (*shipped.values(), *excerpt.values()):
        batch, steps = run.batch_size_sequences, run.train_steps
        assert batch is not None
        assert steps is not None
        assert run.train_tokens == batch * 2048 * steps
        assert run.nominal_train_tokens is not None
        assert run.train_tokens / run.nominal_train_tokens == pytest.approx(1, abs=0.0035)


def test_a_run_shorter_than_its_warm_up_is_flagged(excerpt: dict[str, Run]) -> None:
    flagged = {run.train_steps for run in excerpt.values() if run.flags}
    assert flagged == {run.train_steps for run in excerpt.values() if run.train_steps < 2000}  # type: ignore[operator]
    assert flagged


def test_every_value_knows_its_origin(shipped: dict[str, Run], excerpt: dict[str, Run]) -> None:
    own = {"run_id", "source", "schema_version", "origins", "raw_config", "flags", "is_copy"}
    own |= {"licence", "citation", "url", "revision", "file", "file_sha256", "record", "source_run"}
    for run in (*list(shipped.values())[:50], *excerpt.values()):
        said = {column for column, value in run.row().items() if value is not None} - own
        assert run.origins is not None
        assert said <= set(run.origins)


def test_mixture_of_experts_run_has_its_experts(excerpt: dict[str, Run]) -> None:
    run = excerpt[
        "steplaw/moe_1in89_moeh352_sed352_h1408_ffnh3904_numh11_numl16_lr1.726e-04_bs32_ti30517"
    ]
    assert (run.n_experts, run.experts_per_token, run.d_ff_expert) == (89, 1, 352)
    assert (run.params_non_embedding, run.params_active_non_embedding) == (
        2_150_612_992,
        187_973_632,
    )


def test_ingest_reports_and_a_second_run_adds_nothing(run_command: Runner, tmp_path: Path) -> None:
    args = ("ingest", "steplaw", "--offline", "--catalog", tmp_path / "c")
    assert "2,819 added, 0 updated, 0 unchanged, 0 rejected" in run_command(main, *args).stdout
    assert "0 added, 0 updated, 2,819 unchanged" in run_command(main, *args).stdout


def damaged(tmp_path: Path, fixtures: Path, change: Callable[[str], str]) -> Path:
    """Return a folder with the excerpt, its dense file changed."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for file in (file for file in UPSTREAM.files if file.bundled is None):
        text = (fixtures / "steplaw" / file.name).read_text("utf-8")
        (folder / file.name).write_text(
            change(text) if file.name.startswith("dense") else text, encoding="utf-8"
        )
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.replace("smooth loss", "smoothed"),
            'steplaw dense_lr_bs_loss.csv line 1: no column "smooth loss"',
        ),
        (
            lambda t: t.replace(",736,", ",many,", 1),
            'dense_lr_bs_loss.csv line 2: bs is "many"; expected a finite number',
        ),
        (lambda t: t.replace(",736,", ",nan,", 1), 'line 2: bs is "nan"'),
        (lambda t: t.replace(",736,", ",-3,", 1), 'line 2: bs is "-3"; expected a whole number'),
        (lambda t: t[: t.rindex(",") - 4], "the file is cut off or altered"),
        (lambda t: "\n".join(t.splitlines()[:3]) + "\n", "expected 344,476 bytes with 9e46181"),
        (lambda t: t.replace("step2v2_0618", "step3"), 'exp_name is "step3_h960'),
        (lambda _: "", "line 1: no column"),
        (lambda _: "\x00\x01\x02", "line 1: no column"),
    ],
)
def test_a_bad_file_is_one_clear_sentence_and_changes_nothing(
    change: Callable[[str], str],
    message: str,
    run_command: Runner,
    tmp_path: Path,
    fixtures: Path,
    filled: Catalog,
    files_of: Callable[[Path], dict[str, bytes]],
) -> None:
    before = files_of(filled.root)
    folder = damaged(tmp_path, fixtures, change)
    result = run_command(main, "ingest", "steplaw", "--from", folder, "--catalog", filled.root)
    assert result.exit_code == 1
    (line,) = (text for text in result.stderr.splitlines() if text.startswith("error: "))
    assert message in line
    assert files_of(filled.root) == before


def test_a_folder_without_the_files_is_refused(run_command: Runner, tmp_path: Path) -> None:
    result = run_command(main, "ingest", "steplaw", "--from", tmp_path, "--catalog", tmp_path / "c")
    assert result.exit_code == 1
    assert "does not hold its files; expected dense_lr_bs_loss.csv" in result.stderr
    assert not (tmp_path / "c").exists()
