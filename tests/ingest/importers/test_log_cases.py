"""Real logs that became a document with a wrong number: each gives its own, or a sentence.

The inputs are those of public logs and bug reports (tests/fixtures/logs/cases); what each must
give was read off the file by hand.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.importers import importer
from ncpl_data.ingest.importers.base import Options

CASES = Path(__file__).parents[2] / "fixtures" / "logs" / "cases"


def convert(layout: str, path: str, **options: Any) -> tuple[list[dict], str]:
    chosen = Options(source="lab", **options)
    found = list(importer(layout)(str(CASES / path), chosen))
    return found, "\n".join(chosen.notes)


def curve(document: dict, metric: str) -> dict[int, float]:
    (found,) = [c for c in document.get("curves", ()) if c["metric"] == metric]
    return dict(zip(found["step"], found["value"], strict=True))


def stated(document: dict, *pointers: str) -> list[Any]:
    found = []
    for pointer in pointers:
        section, name = pointer.split("/")
        found.append(document.get(section, {}).get(name))
    return found


def test_a_later_stage_in_the_file_is_told_and_never_mixed_in() -> None:
    (document,), notes = convert("log", "00-nanochat-speedrun/speedrun.log")
    train = {0: 11.090355, 1: 10.808654, 2: 10.179082, 21398: 2.705065, 21399: 2.719005}
    assert curve(document, "train/loss_smoothed") == train
    assert curve(document, "validation/bpb") == {0: 3.3013, 250: 1.2016, 21400: 0.8118}
    assert "a later stage from trained weights" in notes
    (stage,), _ = convert("log", "00-nanochat-speedrun/speedrun.log", launch=2)
    assert curve(stage, "train/loss_smoothed") == {1: 1.274502, 2: 1.681553}


@pytest.mark.parametrize(("file", "finite"), [("late_nan", 3), ("all_nan", 0)])
def test_a_padded_nan_is_a_nan(file: str, finite: int) -> None:
    (document,), _ = convert("log", f"01-llmc-nan/{file}.log")
    assert document["outcome"]["status"] == "diverged"
    assert "final_loss" not in document["outcome"]
    steps = [c["step"][-1] for c in document["curves"] if c["metric"] == "train/loss"]
    assert steps == ([finite] if finite else [])


def test_the_table_and_the_validation_lines_of_llm_c_are_read() -> None:
    (document,), _ = convert("log", "02-llmc-stdout/run.log")
    outcome = document["outcome"]
    assert (outcome["final_loss"], outcome["final_loss_metric"]) == (3.264775, "validation/loss")
    assert curve(document, "validation/loss") == {0: 11.007921, 19560: 3.264775}
    assert stated(
        document,
        *("optimizer/learning_rate", "schedule/warmup_steps", "schedule/sequence_length"),
        *("schedule/batch_size_sequences", "model/n_layers", "model/n_heads", "model/d_model"),
        *("model/vocab_size", "optimizer/weight_decay"),
    ) == [6e-4, 700, 1024, 512, 12, 12, 768, 50257, 0.1]


@pytest.mark.parametrize("run", ["run", "run_generic"])
def test_steps_are_those_of_the_column_that_counts_them(run: str) -> None:
    (document,), _ = convert("wandb", f"03-wandb-iter-axis/{run}")
    assert document["outcome"]["final_step"] == 2000
    assert list(curve(document, "val/loss")) == list(range(0, 2001, 250))
    assert "batch_size_sequences" not in document["schedule"]
    assert document["schedule"].get("train_tokens") in (None, 983_040_000)


def test_bits_per_character_are_no_nats_per_token() -> None:
    (document,), notes = convert("log", "04-bits-per-char/output.log")
    outcome = document["outcome"]
    assert (outcome["final_loss"], outcome["final_loss_metric"]) == (2.4492, "validation/loss")
    assert outcome["final_loss_unit"] == "other"
    assert {m["unit"] for m in outcome["metrics"]} == {"other"}
    assert "is not in nats" in notes


def test_a_filtered_nan_is_a_diverged_run() -> None:
    (document,), _ = convert("hf", "05-hf-nan-as-zero")
    assert document["outcome"]["status"] == "diverged"
    assert "final_loss" not in document["outcome"]
    assert curve(document, "train/loss") == {100: 4.1}


@pytest.mark.parametrize(
    ("layout", "path", "step", "loss"),
    [
        ("tensorboard", "06-restart/tb_from_scratch", 600, 3.4),
        ("tensorboard", "06-restart/tb_resumed_purge", 205, 4.95),
        ("log", "06-restart/text_two_runs.log", 1000, 4.25),
    ],
)
def test_of_a_part_run_twice_the_later_attempt_stands(
    layout: str, path: str, step: int, loss: float
) -> None:
    (document,), notes = convert(layout, path)
    assert (document["outcome"]["final_step"], document["outcome"]["final_loss"]) == (step, loss)
    assert "gave way" in notes
    if "purge" in path:
        points = curve(document, "train/loss")
        assert [s for s in points if s > 100] == list(range(105, 206, 10))


def test_a_curve_over_samples_is_none_over_steps() -> None:
    (document,), notes = convert("tensorboard", "07-megatron-tb")
    outcome = document["outcome"]
    assert (outcome["final_step"], outcome["final_loss"]) == (100, 9.1)
    assert outcome["final_loss_metric"] == "lm_loss_validation"
    assert not [c for c in document["curves"] if "samples" in c["metric"]]
    assert "no curve over steps" in notes


def test_the_later_statement_of_a_setting_wins() -> None:
    (document,), notes = convert("log", "08-nanogpt-override/override.log")
    pointers = ("optimizer/learning_rate", "optimizer/weight_decay", "schedule/train_steps")
    assert stated(document, *pointers) == [0.0003, 0.05, 200]
    assert "learning_rate is 0.0003 after 0.0006; the later stands" in notes


def test_the_header_of_nanogpt_is_read() -> None:
    (document,), _ = convert("log", "09-nanogpt-header/run.log")
    assert stated(
        document,
        *("schedule/train_steps", "schedule/sequence_length", "schedule/batch_size_sequences"),
        "model/params_total",
    ) == [600_000, 1024, 480, 123_650_000]
    assert document["stage"] == "cpt"


def test_the_model_card_beside_a_state_is_read() -> None:
    (document,), _ = convert("hf", "10-hf-folder")
    assert stated(
        document,
        *("optimizer/learning_rate", "schedule/batch_size_sequences", "system/n_devices"),
        *("schedule/warmup_steps", "optimizer/adam_beta1", "optimizer/adam_beta2"),
        "schedule/shape",
    ) == [6e-4, 128, 4, 20, 0.9, 0.95, "cosine"]
    assert document["seed"] == 42
    (train,) = [m for m in document["outcome"]["metrics"] if m["name"] == "train/loss"]
    assert train["smoothing"] == "mean of the last 100 steps"


@pytest.mark.parametrize("layout", ["hf", "log"])
def test_the_log_of_llamafactory_is_read(layout: str) -> None:
    (document,), notes = convert(layout, "10-hf-folder/trainer_log.jsonl")
    assert curve(document, "train/loss") == {5: 1.7484, 10: 1.7329, 15: 1.726}
    assert stated(document, "schedule/train_steps", "outcome/status") == [8712, "truncated"]
    assert "does the run start from trained weights?" in notes


def test_build_nanogpt_and_megatron_are_read() -> None:
    (document,), _ = convert("log", "11-other-frameworks/build_nanogpt_log.txt")
    assert stated(document, "outcome/final_loss", "outcome/final_step") == [3.0594, 19072]
    (document,), notes = convert("log", "11-other-frameworks/build_nanogpt_stdout.out")
    assert stated(document, "outcome/final_loss", "outcome/final_loss_metric") == [
        3.030851,
        "train/loss",
    ]
    assert curve(document, "validation/loss") == {0: 10.9522}
    assert "that is no end" in notes
    assert "optimizer" not in document  # the logged rates are those of warm-up and end
    (document,), _ = convert("log", "11-other-frameworks/megatron.log")
    assert curve(document, "train/loss") == {1: 10.43863, 2: 10.44022}
    assert curve(document, "train/learning_rate") == {1: 6.976744e-08, 2: 1.395349e-07}
    assert stated(document, "schedule/batch_size_sequences", "schedule/train_steps") == [128, 5000]


def test_tables_of_points_need_no_mapping() -> None:
    (document,), _ = convert("csv", "12-curve-only-csv/lightning/metrics.csv")
    assert curve(document, "train_loss")[499] == 1.668698787689209
    assert curve(document, "val_loss") == {199: 2.3940553665161133, 399: 1.9023048877716064}
    assert stated(document, "model/n_layers", "schedule/train_steps") == [6, 500]
    found, _ = convert("csv", "12-curve-only-csv/wandb_export_2024-02-16.csv")
    assert [d["run_id"] for d in found] == ["lab/gpt2-a", "lab/gpt2-b"]
    assert [curve(d, "train/loss") for d in found] == [{0: 10.9, 100: 6.1}, {0: 10.8}]


@pytest.mark.parametrize("aliases", ["common", "huggingface"])
def test_what_the_trainer_logs_to_mlflow_is_read_by_its_names(aliases: str) -> None:
    (document,), _ = convert("mlflow", "13-mlflow/hf_callback", aliases=aliases)
    assert stated(
        document,
        *("model/n_layers", "model/d_model", "model/vocab_size", "optimizer/name"),
        *("schedule/train_steps", "model/experts_per_token", "schedule/batch_size_sequences"),
    ) == [8, 512, 32000, "adamw", None, None, None]
    assert document["provenance"]["raw_config"]["warmup_ratio"] == "0.1"
    assert curve(document, "train/loss") == {100: 6.5, 200: 5.1}  # train_loss is a mean


def test_values_without_steps_are_refused() -> None:
    with pytest.raises(InputError, match="the steps were not logged"):
        convert("mlflow", "13-mlflow/no_step")


def test_a_note_beside_a_log_is_passed_over() -> None:
    (document,), notes = convert("log", "14-folder-with-a-note")
    assert document["run_id"] == "lab/a"
    assert "passed over: " in notes
    assert "notes.txt" in notes


def test_encodings_and_colours_change_no_number() -> None:
    (document,), _ = convert("log", "15-encodings/powershell_utf16.log")
    assert curve(document, "train/loss") == {0: 4.3206, 10: 3.182, 20: 2.8084, 30: 2.6286}
    (document,), _ = convert("log", "15-encodings/ansi.log")
    assert curve(document, "train/loss") == {100: 3.21, 200: 3.11}


def test_the_best_weights_are_not_the_last() -> None:
    (document,), _ = convert("hf", "16-hf-best-at-end")
    assert document["outcome"]["final_loss"] == 3.20
    assert curve(document, "eval/loss") == {100: 3.9, 200: 2.7, 300: 2.95, 400: 3.2}
    (evaluation,) = [c for c in document["curves"] if c["metric"] == "eval/loss"]
    assert evaluation["tokens"] == [819_200, 1_638_400, 2_457_600, 3_276_800]
    names = {m["name"] for m in document["outcome"]["metrics"]}
    assert "eval/mean_token_accuracy" in names
    assert not {n for n in names if "num" in n}


def test_subfolders_that_are_no_runs_make_none() -> None:
    (document,), _ = convert("tensorboard", "17-tb-subfolders/tbx_hp")
    assert curve(document, "train/loss")[100] == 5.0
    (document,), notes = convert("tensorboard", "17-tb-subfolders/tbx_multi")
    assert (curve(document, "loss/train")[100], curve(document, "loss/val")[100]) == (5.0, 5.2)
    assert stated(document, "outcome/final_loss", "outcome/final_loss_metric") == [5.2, "loss/val"]
    assert notes == ""


def test_a_warmup_fraction_of_megatron_is_of_its_decay() -> None:
    (document,), notes = convert("wandb", "submit/01-wandb")
    pointers = ("schedule/warmup_steps", "schedule/shape", "schedule/min_learning_rate")
    assert stated(document, *pointers) == [9900, "linear", None]
    assert "min_lr is not its rate at the end" in notes


def test_megatrons_log_is_read() -> None:
    (document,), _ = convert("log", "submit/02-megatron-stdout.log")
    assert curve(document, "train/loss") == {50: 9.6868, 100: 8.9123}
    assert curve(document, "train/learning_rate") == {50: 2.5e-05, 100: 5e-05}
    assert stated(document, "schedule/batch_size_sequences", "outcome/status") == [32, "truncated"]


def test_tokens_as_printed_are_those_of_the_run() -> None:
    (document,), _ = convert("log", "submit/05-tokens-seen.txt")
    assert stated(document, "schedule/train_tokens", "outcome/final_loss") == [6_440_000_000, 3.278]


def test_cos_is_cosine() -> None:
    result = CliRunner().invoke(
        main, ["validate", str(CASES / "submit" / "08-cos.jsonl"), "--json"]
    )
    assert result.exit_code == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert (problem["pointer"], problem["expected"]) == ("/schedule/shape", '"cosine"')
