"""Files of own runs as people have them: documents, tables of a study, other programs' names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl.cli import main
from ncpl.data.documents import COLUMNS, SECTIONS, flat_config
from ncpl.data.fields import KNOWN
from ncpl.data.progress import read_progress
from ncpl.errors import ConfigError
from ncpl.forms.own_runs import read_own_runs
from ncpl_data.schema.fields import fields_by_section

DOCUMENT = {
    "schema_version": "1.0",
    "run_id": "mylab/a",
    "source": "mylab",
    "model": {"params_non_embedding": 190_000_000, "family": "llama"},
    "optimizer": {"name": "adamw", "learning_rate": 0.001, "weight_decay": 0.1},
    "schedule": {
        "shape": "cosine", "warmup_steps": 2000, "train_steps": 7282,
        "batch_size_sequences": 128, "sequence_length": 2048, "train_tokens": 1908932608,
    },
    "data": {"dataset": "mine", "tokenizer": "mine"},
    "outcome": {
        "status": "finished", "final_loss": 3.747, "final_loss_metric": "validation/loss",
        "final_loss_unit": "nats_per_token",
    },
    "curves": [{"metric": "validation/loss", "step": [3641, 7282], "value": [4.0, 3.747]}],
    "provenance": {"licence": "CC-BY-4.0"},
}  # fmt: skip


def write(path: Path, *values: object) -> Path:
    path.write_text("\n".join(v if isinstance(v, str) else json.dumps(v) for v in values))
    return path


def test_every_field_of_the_schema_goes_to_the_column_the_catalog_gives_it():
    sections = fields_by_section()
    for section in SECTIONS:
        for name, field in sections[section].items():
            if field.column in KNOWN:
                assert COLUMNS.get((section, name), name) == field.column


def test_a_document_is_a_run_with_its_optimizer_schedule_loss_and_curve(tmp_path):
    ((run,), told) = read_own_runs(write(tmp_path / "mine.jsonl", DOCUMENT))
    assert (run["optimizer"], run["schedule"], run["model_family"]) == ("adamw", "cosine", "llama")
    assert (run["final_loss"], run["status"], run["run_id"]) == (3.747, "finished", "mylab/a")
    assert run["curve"] == [{"step": 3641, "loss": 4.0}, {"step": 7282, "loss": 3.747}]
    assert "source" not in run
    assert told == []


def test_a_submission_stands_for_its_runs(tmp_path):
    submission = {"schema_version": "1.0", "contributor": "A", "licence": "MIT", "runs": [DOCUMENT]}
    runs, _ = read_own_runs(write(tmp_path / "sent.json", submission))
    assert [run["run_id"] for run in runs] == ["mylab/a"]


def test_a_table_of_a_study_is_read_with_its_own_columns_told(tmp_path):
    table = write(
        tmp_path / "study.csv", "run,params_non_embedding,tokens,lr,loss,x", "a,3e7,3B,1e-3,3.2,7"
    )
    runs, told = read_own_runs(table)
    assert runs == [
        {
            "run_id": "a", "params_non_embedding": 3e7, "train_tokens": 3_000_000_000,
            "learning_rate": 1e-3, "final_loss": 3.2,
        }
    ]  # fmt: skip
    assert "loss is read as final_loss, nats per token" in told
    assert "not read: x" in told
    assert "learning_rate is read from lr" in told


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"final_loss_unit": "bits_per_byte"}, "final_loss is in bits_per_byte; expected nats"),
        ({"final_loss_metric": "train/loss"}, "do not compare; keep the runs of one"),
    ],
)
def test_losses_that_do_not_compare_are_refused(tmp_path, change, said):
    other = DOCUMENT | {"run_id": "mylab/b", "outcome": DOCUMENT["outcome"] | change}
    with pytest.raises(ConfigError, match=said):
        read_own_runs(write(tmp_path / "mine.jsonl", DOCUMENT, other))


def test_two_losses_in_one_row_are_not_chosen_between(tmp_path):
    table = write(
        tmp_path / "study.csv", "params_non_embedding,tokens,train_loss,val_loss", "3e7,3B,3.1,3.2"
    )
    with pytest.raises(ConfigError, match="call the one that counts final_loss"):
        read_own_runs(table)


def test_a_misspelt_column_is_told_with_its_field_and_not_passed_over(tmp_path):
    table = write(
        tmp_path / "study.csv", "params_non_embedding,tokens,learning_rat,loss", "3e7,3B,1e-3,3.2"
    )
    found = CliRunner().invoke(main, ["adapt", str(table), "--out", str(tmp_path / "own")])
    assert found.exit_code == 1
    assert "the nearest known field is learning_rate" in found.output
    assert not (tmp_path / "own").exists()


def test_documents_are_predicted_and_adapted_to(tmp_path):
    mine = write(tmp_path / "mine.jsonl", DOCUMENT)
    found = CliRunner().invoke(main, ["predict", str(mine), "--runs", str(mine), "--json"])
    assert found.exit_code == 0, found.output
    (prediction,) = json.loads(found.stdout)["predictions"]
    assert prediction["low"] < 3.747 < prediction["high"]


def test_a_document_of_a_running_run_keeps_its_schedule(tmp_path):
    (run,) = read_progress(write(tmp_path / "a.json", DOCUMENT))
    assert run.config["schedule"] == "cosine"
    assert run.config["optimizer"] == "adamw"


def test_a_document_without_a_curve_says_so_where_a_curve_is_needed(tmp_path):
    bare = {name: value for name, value in DOCUMENT.items() if name != "curves"}
    with pytest.raises(ConfigError, match="the run has no curve"):
        read_progress(write(tmp_path / "a.json", bare))


def test_configurations_of_a_document_leave_names_of_catalog_and_outcome():
    assert set(flat_config(DOCUMENT)) & {"final_loss", "licence", "run_id"} == set()


def test_a_table_of_several_curves_is_several_runs(tmp_path):
    table = write(tmp_path / "log.csv", "curve,step,loss", "a,1,3", "a,2,2", "b,1,3.5", "b,2,2.5")
    assert [(r.name, r.loss.tolist(), r.notes) for r in read_progress(table)] == [
        ("a", [3, 2], []),
        ("b", [3.5, 2.5], []),
    ]
