"""The neighbours of each fault: the same kinds in other formats and other places."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest

from ncpl_data.catalog.errors import InputError
from ncpl_data.ingest.importers import importer, layout_of
from ncpl_data.ingest.importers.base import Options

LOGS = Path(__file__).parents[2] / "fixtures" / "logs"
Entries = list[dict[str, Any]]


def convert(layout: str, path: Path, **options: Any) -> tuple[list[dict], str]:
    chosen = Options(source="lab", **options)
    return list(importer(layout)(str(path), chosen)), "\n".join(chosen.notes)


def one(layout: str, path: Path, **options: Any) -> tuple[dict, str]:
    (document,), notes = convert(layout, path, **options)
    return document, notes


def curve(document: dict, metric: str) -> dict[int, float]:
    (found,) = [c for c in document["curves"] if c["metric"] == metric]
    return dict(zip(found["step"], found["value"], strict=True))


def trainer(folder: Path, history: Entries, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    state = {"log_history": history, "global_step": history[-1]["step"], **more}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def wandb_run(folder: Path, rows: Entries, config: dict | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


FALLING = [{"step": i * 10, "loss": 9 - i * 0.5} for i in range(1, 8)]


@pytest.mark.parametrize(
    ("extra", "beside", "words"),
    [
        ({"rewards/chosen": 0.1, "rewards/margins": 0.2}, {}, "preferences were tuned"),
        ({"reward": 0.1, "kl": 0.2}, {}, "rewards were learned from"),
        ({"eval_f1": 0.7}, {}, "a loss of another task than language modelling"),
        ({}, {"config.json": {"architectures": ["BertForSequenceClassification"]}}, "another task"),
        ({}, {"adapter_config.json": {"r": 8, "peft_type": "LORA"}}, "adapters of other weights"),
    ],
)
def test_a_loss_of_another_task_is_refused(
    extra: dict, beside: dict, words: str, tmp_path: Path
) -> None:
    history = [entry | extra for entry in FALLING]
    folder = trainer(tmp_path / "a", history, max_steps=70)
    for name, content in beside.items():
        (folder / name).write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        one("hf", folder)


def test_a_classifier_is_asked_about(tmp_path: Path) -> None:
    history = [{"step": i, "loss": 0.69 - i * 0.01} for i in range(1, 8)]
    history.append({"step": 8, "eval_loss": 0.4, "eval_accuracy": 0.8})
    folder = trainer(tmp_path / "a", history, max_steps=8)
    with pytest.raises(InputError, match="is this a classifier"):
        one("hf", folder)
    document, _ = one("hf", folder, values={"/stage": "pretrain"})
    assert document["outcome"]["final_loss"] == 0.4


def test_a_declared_stage_keeps_a_preference_loss_out_of_nats(tmp_path: Path) -> None:
    history = [entry | {"rewards/chosen": 0.1} for entry in FALLING]
    folder = trainer(tmp_path / "a", history)
    document, _ = one("hf", folder, values={"/stage": "rl"})
    assert document["outcome"]["final_loss_unit"] == "other"


def test_a_log_that_goes_further_than_a_checkpoint_is_the_run(tmp_path: Path) -> None:
    trainer(tmp_path / "a" / "checkpoint-40", FALLING[:4], max_steps=70)
    lines = [{"current_steps": e["step"], "total_steps": 70, "loss": e["loss"]} for e in FALLING]
    log = tmp_path / "a" / "trainer_log.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    document, notes = one("hf", tmp_path / "a")
    assert (document["outcome"]["final_step"], document["outcome"]["status"]) == (70, "finished")
    assert "goes further than" in notes


def test_the_best_weights_are_told_in_wandb_too(tmp_path: Path) -> None:
    rows: Entries = [
        {"_step": i, "train/global_step": s, "eval/loss": v}
        for i, (s, v) in enumerate(((100, 3.9), (200, 2.7), (300, 2.95), (400, 3.2), (400, 2.7)))
    ]
    rows.append({"_step": 9, "train/global_step": 400, "train/train_loss": 3.3})
    document, notes = one("wandb", wandb_run(tmp_path / "a", rows))
    assert curve(document, "eval/loss") == {100: 3.9, 200: 2.7, 300: 2.95, 400: 3.2}
    assert "an evaluation of the best weights" in notes
    assert [c["metric"] for c in document["curves"]] == ["eval/loss"]  # train_loss is a mean


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("batch", '"batch" rises apart from _step'),
        ("n", '"n" rises apart from _step'),
        ("loss_tokens", None),
        ("epoch", None),
    ],
)
def test_a_column_that_rises_apart_is_asked_about(
    column: str, words: str | None, tmp_path: Path
) -> None:
    rows = [{"_step": i, column: i * 4 + 1, "loss": 9 - i / 10} for i in range(9)]
    folder = wandb_run(tmp_path / "a", rows)
    if words is None:
        assert one("wandb", folder)[0]["outcome"]["final_step"] == 8
        return
    with pytest.raises(InputError, match=words):
        one("wandb", folder)
    assert one("wandb", folder, step_key=column)[0]["outcome"]["final_step"] == 33
    assert one("wandb", folder, step_key="_step")[0]["outcome"]["final_step"] == 8


def test_two_columns_of_steps_that_disagree_are_asked_about(tmp_path: Path) -> None:
    rows = [
        {"_step": i, "iter": i * 80, "global_step": i * 10, "loss": 9 - i / 10} for i in range(9)
    ]
    with pytest.raises(InputError, match="both count steps and disagree"):
        one("wandb", wandb_run(tmp_path / "a", rows))


def test_the_settings_of_a_launch_are_its_own(tmp_path: Path) -> None:
    first = [f"iter {i}: loss {9 - i / 20:.4f}, time 1" for i in range(0, 110, 10)]
    second = [f"iter {i}: loss {9 - i / 15:.4f}, time 1" for i in range(0, 60, 10)]
    lines = ["learning_rate = 1e-3", *first, "learning_rate = 2e-3", *second]
    (tmp_path / "a.log").write_text("\n".join(lines) + "\n")
    rates = [
        one("log", tmp_path / "a.log", launch=n)[0]["optimizer"]["learning_rate"] for n in (1, 2)
    ]
    assert rates == [1e-3, 2e-3]
    assert one("log", tmp_path / "a.log")[0]["optimizer"]["learning_rate"] == 2e-3
    with pytest.raises(InputError, match="there is no launch 3"):
        one("log", tmp_path / "a.log", launch=3)


def test_a_configuration_that_contradicts_the_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("learning_rate = 1e-3\niter 0: loss 9.1, time 1\n")
    (tmp_path / "c.json").write_text('{"learning_rate": 0.002}')
    document, notes = one("log", tmp_path / "a.log", config=tmp_path / "c.json")
    assert document["optimizer"]["learning_rate"] == 1e-3
    assert "is 0.001 and learning_rate says 0.002; the first stands" in notes


@pytest.mark.parametrize(
    "line",
    [
        "iter {0}: loss {1:.4f}, time 1\niter {2}: loss {3:.4f}, time 1\n",
        "step:{0}/999 train_loss:{1:.4f}\nstep:{2}/999 train_loss:{3:.4f}\n",
    ],
)
@pytest.mark.parametrize("offset", [-3, 0, 1])
def test_two_runs_woven_into_one_are_refused(line: str, offset: int, tmp_path: Path) -> None:
    text = "".join(
        line.format(i * 10 + 10, 9 - i / 10, i * 10 + 10 + offset, 7 - i / 20) for i in range(12)
    )
    (tmp_path / "a.log").write_text(text)
    with pytest.raises(InputError, match=r"woven into one|several ranks or runs"):
        one("log", tmp_path / "a.log")


def test_a_file_that_ends_inside_a_number_loses_it(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("iter 0: loss 9.1234\niter 10: loss 8.1234\niter 20: loss 7.")
    document, notes = one("log", tmp_path / "a.log")
    assert curve(document, "train/loss") == {0: 9.1234, 10: 8.1234}
    assert "ends inside a number" in notes


def test_a_clock_that_ends_a_run_makes_no_plan(tmp_path: Path) -> None:
    lines = [f"step:{i}/20000 train_loss:{9 - i / 1000:.4f}" for i in range(0, 7100, 500)]
    lines.append("stopping_early: wallclock_cap train_time:600091ms step:7100/20000")
    (tmp_path / "a.log").write_text("\n".join([*lines, "step:7100/20000 val_loss:2.4"]) + "\n")
    document, notes = one("log", tmp_path / "a.log")
    assert "schedule" not in document
    assert "status" not in document["outcome"]
    assert "a clock ends this run" in notes


def table(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("step;loss\n0;9,5\n10;8,2\n", "Is the comma a decimal mark"),
        ('step,loss\n"1,000",9\n"2,000",8\n', "Write 1000 or 1.000"),
        ("Step,loss\n1.5,9\n2.5,8\n", 'Step is "1.5"; expected whole numbers of steps'),
        ("consumed_samples,loss\n128,9\n256,8\n", "has no column of steps"),
        ('"Relative Time (Process)","a - train/loss"\n"1.2","9"\n', 'the chart is over "Relative'),
        ("step,loss\n10,9\n20,0\n", "no language model has a loss of 0"),
        ("step,loss\n10,9\n20,fast8\n", 'loss is "fast8"'),
    ],
)
def test_a_table_of_points_that_means_something_else_is_refused(
    text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        convert("csv", table(tmp_path, text))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("step,loss\n30,7\n20,8\n10,9\n", {10: 9.0, 20: 8.0, 30: 7.0}),
        ("Step\tloss\n0\t9.5\n10\t8.2\n", {0: 9.5, 10: 8.2}),
        ("step,loss\n10,9\n20,8\n10,8.5\n20,7.9\n30,7\n", {10: 8.5, 20: 7.9, 30: 7.0}),
    ],
)
def test_a_table_of_points_is_read_in_any_order(
    text: str, points: dict[int, float], tmp_path: Path
) -> None:
    document, _ = one("csv", table(tmp_path, text))
    assert curve(document, "loss") == points


def test_a_table_with_a_column_of_names_holds_several_runs(tmp_path: Path) -> None:
    found, _ = convert("csv", table(tmp_path, "run,step,loss\na,0,9\nb,0,9.1\na,10,8\nb,10,8.1\n"))
    assert [d["run_id"] for d in found] == ["lab/a", "lab/b"]


def test_a_perplexity_beside_a_loss_tells_its_logarithm(tmp_path: Path) -> None:
    for base, unit in ((math.e, "nats_per_token"), (2, "bits_per_token"), (10, "other")):
        rows = "".join(f"{s},{v},{base**v}\n" for s, v in ((10, 5.0), (20, 4.0), (30, 3.5)))
        document, _ = one("csv", table(tmp_path, f"step,val_loss,val_ppl\n{rows}"))
        assert document["outcome"]["final_loss_unit"] == unit


MAPPING = """
[run]
id = "name"
where = { state = ["ok"] }
[columns]
lr = "/optimizer/learning_rate"
gpus = { field = "/system/n_devices", blank = ["?"] }
tokens = { field = "/schedule/train_tokens", times = 1e9, round = true }
cluster = "/extra/acme.cluster"
[products]
"/schedule/batch_size_sequences" = ["micro", "accum", "gpus2"]
"""


def test_a_mapping_multiplies_blanks_rounds_selects_and_reaches_extra(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "runs.csv").write_text(
        "name,lr,gpus,tokens,cluster,micro,accum,gpus2,state\n"
        "a,1e-3,?,1.0000000001,b3,4,8,16,ok\nb,1e-3,8,1,b3,4,8,16,failed\n"
    )
    document, _ = one(
        "csv",
        tmp_path / "runs.csv",
        mapping=tmp_path / "m.toml",
        run_values={"a": {"/data/dataset": "c4"}},
    )
    assert document["schedule"] == {"train_tokens": 1_000_000_000, "batch_size_sequences": 512}
    assert document["extra"] == {"acme.cluster": "b3"}
    assert document["data"]["dataset"] == "c4"
    assert "system" not in document


@pytest.mark.parametrize("path", ["wandb_offline", "wandb_offline/run-abc123.wandb"])
def test_an_offline_run_of_wandb_is_read(path: str) -> None:
    pytest.importorskip("wandb")
    document, _ = one("wandb", LOGS / path)
    assert (document["run_id"], document["source_run"]) == ("lab/abc123", "gpt-small")
    assert curve(document, "train/loss") == {0: 9.0, 10: 8.5, 20: 8.0, 30: 7.5, 40: 7.0}
    assert document["schedule"]["train_steps"] == 40
    assert document["outcome"]["status"] == "finished"


def test_a_file_that_is_no_offline_run_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    (tmp_path / "run-a.wandb").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no offline W&B run"):
        one("wandb", tmp_path / "run-a.wandb")


def test_runs_called_train_get_names_from_their_content(tmp_path: Path) -> None:
    names = set()
    for number in range(2):
        (tmp_path / "train.log").write_text(f"iter 1: loss 9.{number}, time 1\n")
        names.add(one("log", tmp_path / "train.log")[0]["run_id"])
    assert len(names) == 2


@pytest.mark.parametrize(
    ("layout", "name", "good", "bad"),
    [
        ("log", "a.log", "iter 1: loss 9.1, time 1\n", "nothing"),
        ("hf", "trainer_state.json", '{"log_history": [{"step": 1, "loss": 9}]}', "{"),
        ("wandb", "history.jsonl", '{"_step": 1, "loss": 9}\n', "{"),
        ("csv", "metrics.csv", "step,loss\n1,9\n", "step,loss\n1,x9\n"),
    ],
)
def test_one_bad_file_does_not_stop_a_folder(
    layout: str, name: str, good: str, bad: str, tmp_path: Path
) -> None:
    for folder, text in (("a", good), ("b", bad), ("c", good)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    found, notes = convert(layout, tmp_path)
    assert len(found) == 2
    assert "passed over: " in notes


def test_each_launch_of_a_text_log_can_be_a_run_of_its_own(tmp_path: Path) -> None:
    """A sweep appended to one file: each launch has its own plan and settings."""
    lines = []
    for rate, steps in ((1e-3, 100), (2e-3, 300)):
        lines.append(f"learning_rate = {rate}")
        lines += [f"step:{s}/{steps} train_loss:{9 - s / 50:.4f}" for s in range(0, 110, 10)]
    (tmp_path / "sweep.log").write_text("\n".join(lines) + "\n")
    found, _ = convert("log", tmp_path / "sweep.log", launch=0)
    assert [
        (d["run_id"], d["optimizer"]["learning_rate"], d["schedule"]["train_steps"]) for d in found
    ] == [("lab/sweep-1", 1e-3, 100), ("lab/sweep-2", 2e-3, 300)]
    assert [d["outcome"]["status"] for d in found] == ["finished", "truncated"]


def test_a_plan_that_changes_is_told(tmp_path: Path) -> None:
    lines = [
        f"step:{s}/{200 if s < 50 else 400} train_loss:{9 - s / 50:.4f}" for s in range(0, 99, 9)
    ]
    (tmp_path / "a.log").write_text("\n".join(lines) + "\n")
    document, notes = one("log", tmp_path / "a.log")
    assert document["schedule"]["train_steps"] == 400
    assert "400 steps are planned after 200" in notes


def events_of(folder: Path, points: dict[int, float], tag: str) -> None:
    """Write one event file with the points of a tag."""
    folder.mkdir(parents=True)
    content = b""
    for step, value in points.items():
        scalar = b"\x0a" + bytes([len(tag)]) + tag.encode() + b"\x15" + struct.pack("<f", value)
        summary = b"\x0a" + bytes([len(scalar)]) + scalar
        event = b"\x10" + bytes([step]) + b"\x2a" + bytes([len(summary)]) + summary
        content += struct.pack("<Q", len(event)) + b"\0" * 4 + event + b"\0" * 4
    (folder / "events.out.tfevents.1.host").write_bytes(content)


def test_train_and_validation_side_by_side_are_one_run(tmp_path: Path) -> None:
    events_of(tmp_path / "gpt" / "train", {10: 9.0, 20: 8.0}, "loss")
    events_of(tmp_path / "gpt" / "validation", {10: 9.5, 20: 8.5}, "loss")
    events_of(tmp_path / "other", {10: 9.0, 20: 7.0}, "epoch_loss")
    found, notes = convert("tensorboard", tmp_path)
    document = next(d for d in found if d["run_id"] == "lab/gpt")
    assert curve(document, "validation/loss") == {10: 9.5, 20: 8.5}
    assert document["outcome"]["final_loss"] == 8.5
    assert "epoch_loss is no curve over steps" in notes


def test_a_loss_of_zero_on_the_way_is_no_point(tmp_path: Path) -> None:
    history = [{"step": s, "loss": v} for s, v in ((10, 9.0), (20, 0.0), (30, 7.0))]
    document, notes = one("hf", trainer(tmp_path / "a", history))
    assert curve(document, "train/loss") == {10: 9.0, 30: 7.0}
    assert "these are no points of its curve" in notes


@pytest.mark.parametrize(
    ("path", "layout"),
    [
        ("huggingface", "hf"),
        ("huggingface/trainer_state.json", "hf"),
        ("tensorboard", "tensorboard"),
        ("mlruns", "mlflow"),
        ("wandb", "wandb"),
        ("wandb_offline/run-abc123.wandb", "wandb"),
        ("cases/12-curve-only-csv/lightning", "csv"),
        ("cases/10-hf-folder/trainer_log.jsonl", "hf"),
        ("text/megatron.log", "log"),
        ("no-such-entity/project", "wandb"),
    ],
)
def test_a_format_is_told_by_the_names_of_its_files(path: str, layout: str) -> None:
    assert layout_of(path if path.startswith("no-") else str(LOGS / path)) == layout


def test_any_log_is_read_without_a_format() -> None:
    found, _ = convert("auto", LOGS / "cases" / "06-restart" / "text_two_runs.log")
    assert [d["outcome"]["final_loss"] for d in found] == [4.25]
