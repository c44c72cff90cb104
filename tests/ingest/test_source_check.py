"""A source of another package: held to the checks of a submission, and told in one sentence."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl_data.ingest.cli import main
from ncpl_data.ingest.plugins import GROUP


def call(*args: object) -> tuple[int, dict, str]:
    result = CliRunner().invoke(main, [*map(str, args), "--json"], catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout) if result.stdout else {}, result.stderr


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the template as an installed package; return its module."""
    assert call("sources", "acme_runs", "--template", tmp_path / "acme")[0] == 0
    info = tmp_path / "acme" / "acme_runs_ncpl-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-runs-ncpl\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nacme_runs = acme_runs_ncpl:SOURCE\n")
    monkeypatch.syspath_prepend(str(tmp_path / "acme"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield tmp_path / "acme" / "acme_runs_ncpl" / "__init__.py"
    sys.modules.pop("acme_runs_ncpl", None)


def edit(module: Path, before: str, after: str) -> None:
    text = module.read_text()
    assert before in text
    module.write_text(text.replace(before, after))


def test_the_template_passes_the_generic_tests_and_is_ingested(
    package: Path, tmp_path: Path
) -> None:
    code, checked, _ = call("sources", "acme_runs", "--check")
    assert (code, checked["runs"], checked["findings"]) == (0, 2, [])
    code, done, _ = call("ingest", "acme_runs", "--offline", "--catalog", tmp_path / "c")
    assert (code, done["sources"][0]["added"]) == (0, 2)


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        ("batch * sequence * steps,", "8 * batch * sequence * steps,", "agree with each other"),
        ('"dataset", "tokenizer"', '"dataset"', "every value has an origin"),
        ('run_id=f"acme_runs/', 'run_id=f"acme/', "ids begin with the source"),
        ('final_loss_metric="validation/loss",', "", "a loss has a metric"),
        ("(FILE,), 2, read", "(FILE,), 3, read", "as many runs"),
        ('row.number("val_loss")', 'row.number("loss")', "it reads its files"),
        ('title="say what it is"', 'title=""', "sheet is filled"),
    ],
)
def test_each_rule_finds_the_package_that_breaks_it(
    before: str, after: str, rule: str, package: Path
) -> None:
    edit(package, before, after)
    code, checked, _ = call("sources", "acme_runs", "--check")
    assert code == 1
    assert any(rule in one["rule"] for one in checked["findings"])


def test_a_batch_eight_times_too_small_is_refused_by_ingest_as_by_validate(
    package: Path, tmp_path: Path
) -> None:
    edit(package, "batch * sequence * steps,", "8 * batch * sequence * steps,")
    _, done, _ = call("ingest", "acme_runs", "--offline", "--catalog", tmp_path / "c")
    assert done["sources"][0]["rejected_by_reason"] == {"contradiction": 2}
    _, kept, _ = call("query", "select detail from rejects", "--catalog", tmp_path / "c")
    assert "differ by a factor 8" in kept[0]["detail"]


def test_a_reader_that_raises_is_one_sentence(package: Path, tmp_path: Path) -> None:
    edit(package, 'row.number("val_loss")', "row.values[0]")
    code, _, told = call("ingest", "acme_runs", "--offline", "--catalog", tmp_path / "c")
    assert code == 1
    assert "acme_runs: its reader fails on the files of its data sheet (KeyError: 0)" in told
    assert "Traceback" not in told
    assert not (tmp_path / "c").exists()


def test_a_copy_of_what_another_source_holds_is_refused(package: Path, tmp_path: Path) -> None:
    place = ("--catalog", tmp_path / "c")
    document = {
        "schema_version": "1.0", "run_id": "lab/a", "source": "lab",
        "model": {"n_layers": 12, "d_model": 768},
        "optimizer": {"name": "adamw", "learning_rate": 0.001},
        "schedule": {"train_steps": 10000, "batch_size_sequences": 64, "sequence_length": 1024},
        "outcome": {"status": "finished", "final_loss": 3.4121,
                    "final_loss_metric": "validation/loss", "final_loss_unit": "nats_per_token"},
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert call("submit", tmp_path / "a.json", *place)[1]["added"] == 1
    _, done, _ = call("ingest", "acme_runs", "--offline", *place)
    assert done["sources"][0]["rejected_by_reason"] == {"duplicate": 1}
    assert done["sources"][0]["added"] == 1


@pytest.mark.parametrize("name", ["Acme", "9x", "a b"])
def test_a_name_no_source_can_have_makes_no_package(name: str, tmp_path: Path) -> None:
    code, _, told = call("sources", name, "--template", tmp_path / "new")
    assert code == 1
    assert "is no name of a source" in told
    assert not (tmp_path / "new").exists()
