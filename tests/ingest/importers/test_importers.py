"""Other programs' logs become documents with the right units; a hand-written twin is equal."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ncpl_data.catalog.errors import InputError
from ncpl_data.catalog.store import Catalog
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.importers import MODULES, importer
from ncpl_data.ingest.importers.base import Options
from ncpl_data.ingest.importers.event_file import scalars
from ncpl_data.ingest.submissions.documents import Document
from ncpl_data.ingest.submissions.finding import checked
from ncpl_data.ingest.submissions.lookup import find_runs
from ncpl_data.schema.yaml_text import parse_yaml

NATS = "nats_per_token"
LOGS = Path(__file__).parents[2] / "fixtures" / "logs"

TWIN = {
    "schema_version": "1.0",
    "source": "lab",
    "optimizer": {"name": "adamw", "learning_rate": 0.001, "weight_decay": 0.1},
    "schedule": {
        "train_steps": 400,
        "batch_size_sequences": 32,
        "sequence_length": 512,
        "train_tokens": 6_553_600,
    },
    "outcome": {
        "final_loss": 4.9015,
        "final_loss_metric": "eval/loss",
        "final_loss_unit": "nats_per_token",
        "final_step": 400,
    },
    "curves": [
        {"metric": "eval/loss", "step": [200, 400], "value": [5.4682, 4.9015]},
        {
            "metric": "train/loss",
            "step": [100, 200, 300, 400],
            "value": [6.1023, 5.4417, 5.0981, 4.8732],
        },
    ],
}
"""The run of the table and of the W&B export, written by hand."""

(REAL,) = (value for _, value in parse_yaml((LOGS / "twin.yaml").read_text()))
"""The real run, written by hand: what the converters of its three logs must find."""


FIELD = 'lr = { field = "/optimizer/learning_rate", %s }'


def convert(layout: str, path: Path, **options: object) -> list[dict]:
    found = list(importer(layout)(str(path), Options(source="lab", **options)))
    for document in found:
        assert checked(Document("converted", document))[1] == []
    return found


def agrees(document: dict, twin: dict, without: tuple[str, ...] = ()) -> None:
    """Assert that a document states everything its twin states, with equal values."""
    for name, value in twin.items():
        if name in without:
            continue
        if name == "curves":
            curves = [c for c in document["curves"] if c["metric"] in {t["metric"] for t in value}]
            assert curves == value
        elif isinstance(value, dict):
            stated = {k: document[name].get(k) for k in value}
            assert {k: stated[k] for k in value if k not in without} == {
                k: v for k, v in value.items() if k not in without
            }
        else:
            assert document[name] == value


def in_single_precision(twin: dict) -> dict:
    """Return a twin as an event file keeps it: numbers with some seven digits."""
    rounded = [
        c | {"value": [float(str(np.float32(v))) for v in c["value"]]} for c in twin["curves"]
    ]
    loss = float(str(np.float32(twin["outcome"]["final_loss"])))
    return twin | {"curves": rounded, "outcome": twin["outcome"] | {"final_loss": loss}}


def test_a_trainer_state_gives_its_hand_written_twin() -> None:
    (document,) = convert(
        "hf",
        LOGS / "huggingface",
        values={"/system/n_devices": 1, "/schedule/sequence_length": 64},
    )
    assert {k: v for k, v in document.items() if k != "provenance"} == REAL
    origins = document["provenance"]["origins"]
    assert origins["learning_rate"] == "logged"
    assert origins["n_devices"] == "declared"
    assert origins["batch_size_sequences"]["kind"] == "derived"
    assert (
        origins["warmup_steps"]["rule"] == "warmup_steps x steps, rounded up"
    )  # transformers 5: a ratio
    assert document["provenance"]["raw_config"]["hub_token"] == "[removed]"
    assert document["provenance"]["raw_config"]["warmup_steps"] == 0.05


def test_the_batch_stays_unknown_without_the_number_of_devices() -> None:
    (document,) = convert("hf", LOGS / "huggingface" / "trainer_state.json")
    assert "batch_size_sequences" not in document["schedule"]
    assert "train_tokens" not in document["schedule"]


def test_a_run_that_ends_as_nan_diverged(tmp_path: Path) -> None:
    state = json.loads((LOGS / "huggingface" / "trainer_state.json").read_text())
    for entry in state["log_history"][-3:-1]:
        entry.update({k: float("nan") for k in ("loss", "eval_loss") if k in entry})
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    (document,) = convert("hf", tmp_path)
    assert document["outcome"]["status"] == "diverged"
    assert "final_loss" not in document["outcome"]


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("trainer_state.json", {"max_steps": float("nan")}),
        ("trainer_state.json", {"max_steps": "", "log_history": [1, None, {"step": 1, "loss": 2}]}),
        ("training_args.json", {"per_device_train_batch_size": {"a": 1}}),
        ("training_args.json", {"warmup_steps": "1e999"}),
    ],
)
def test_odd_values_of_a_log_are_left_out_or_told(file: str, change: dict, tmp_path: Path) -> None:
    for path in (LOGS / "huggingface").iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    odd = json.loads((tmp_path / file).read_text()) | change
    (tmp_path / file).write_text(json.dumps(odd))
    call = ["convert", "hf", str(tmp_path), "--source", "lab", "--set", "system/n_devices=8"]
    result = CliRunner().invoke(main, call, catch_exceptions=False)
    assert result.exit_code in (0, 1)
    assert json.loads(result.stdout)["system"]["n_devices"] == 8


def test_half_a_character_in_a_log_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "trainer_state.json").write_text('{"log_history": [{"step": 1, "\\ud800": 1}]}')
    with pytest.raises(InputError, match="half a character"):
        convert("hf", tmp_path)


def test_a_unit_of_no_metric_is_refused() -> None:
    """A misspelt name was passed over, and the loss stood in nats."""
    call = ["convert", "hf", str(LOGS / "huggingface"), "--source", "lab"]
    result = CliRunner().invoke(main, [*call, "--unit", "eval_loss=bits_per_byte"])
    assert result.exit_code == 1
    assert 'no metric "eval_loss" was logged; there are: eval/loss' in result.stderr


def test_a_declared_value_stands_with_and_without_its_first_slash() -> None:
    call = ["convert", "hf", str(LOGS / "huggingface"), "--source", "lab"]
    result = CliRunner().invoke(main, [*call, "--set", "schedule/train_steps=500"])
    document = json.loads(result.stdout)
    assert document["schedule"]["train_steps"] == 500
    assert document["provenance"]["origins"]["train_steps"] == "declared"


def test_the_last_checkpoint_of_an_output_folder_is_read(tmp_path: Path) -> None:
    state = json.loads((LOGS / "huggingface" / "trainer_state.json").read_text())
    for step in (80, 400):
        folder = tmp_path / "out" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text(json.dumps(state | {"global_step": step}))
    (document,) = convert("hf", tmp_path / "out")
    assert (document["run_id"], document["outcome"]["final_step"]) == ("lab/out", 400)


def test_each_run_of_a_folder_of_trainer_runs_is_read(tmp_path: Path) -> None:
    state = json.loads((LOGS / "huggingface" / "trainer_state.json").read_text())
    places = ("lr1/out", "lr2/out", "lr2/out/checkpoint-9", "a/checkpoint-9", "a/checkpoint-80")
    for step, place in enumerate(places, start=1):
        (tmp_path / place).mkdir(parents=True)
        text = json.dumps(state | {"global_step": step})
        (tmp_path / place / "trainer_state.json").write_text(text)
    found = {d["run_id"]: d["outcome"]["final_step"] for d in convert("hf", tmp_path)}
    assert found == {"lab/a": 5, "lab/lr1-out": 1, "lab/lr2-out": 2}


def test_tensorboard_events_give_the_same_curves() -> None:
    (document,) = convert(
        "tensorboard", LOGS / "tensorboard", config=LOGS / "tensorboard" / "config.json"
    )
    twin = in_single_precision(REAL)
    agrees(document, {"curves": twin["curves"]})
    assert document["outcome"]["final_loss"] == twin["outcome"]["final_loss"]
    batch = {"train_steps", "batch_size_sequences", "sequence_length", "train_tokens"}
    assert document["schedule"] == {k: REAL["schedule"][k] for k in batch}
    assert document["run_id"] == "lab/tiny"
    names = {m["name"]: m["unit"] for m in document["outcome"]["metrics"]}
    assert (names["train/loss"], names["train/learning_rate"]) == (NATS, "other")


def test_a_cut_off_event_file_gives_what_it_holds(tmp_path: Path) -> None:
    (events,) = (LOGS / "tensorboard").rglob("*tfevents*")
    whole = list(scalars(events))
    (tmp_path / "events.out.tfevents.1").write_bytes(events.read_bytes()[:-20])
    assert list(scalars(tmp_path / "events.out.tfevents.1")) == whole[:-1]


@pytest.mark.parametrize("content", [b"not events at all, but long enough to be read", b"\1" * 100])
def test_another_file_is_no_event_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1").write_bytes(content)
    with pytest.raises(InputError, match="no TensorBoard event file"):
        list(scalars(tmp_path / "events.out.tfevents.1"))


def test_an_mlflow_run_gives_its_twin() -> None:
    (document,) = convert("mlflow", LOGS / "mlruns")
    losses = [c for c in REAL["curves"] if c["metric"].endswith("/loss")]
    assert document["curves"] == losses
    schedule = {k: v for k, v in REAL["schedule"].items() if k != "shape"}
    assert document["schedule"] == schedule
    agrees(document, {"optimizer": {k: REAL["optimizer"][k] for k in document["optimizer"]}})
    for name in ("status", "final_step", "final_loss", "final_loss_metric", "final_loss_unit"):
        assert document["outcome"][name] == REAL["outcome"][name]
    assert document["run_id"] == "lab/a6808541575c4e35b94a0a24aba7b682"
    assert document["source_run"] == "tiny-lr1e-3"
    assert document["data"]["dataset"] == "the-docs-of-ncpl-data"
    assert document["provenance"]["raw_config"]["lr"] == "0.001"  # verbatim: MLflow logs text


def test_a_table_with_a_mapping_gives_its_runs() -> None:
    documents = convert("csv", LOGS / "csv" / "runs.csv", mapping=LOGS / "csv" / "mapping.toml")
    assert [d["run_id"] for d in documents] == [
        "lab/gpt-small",
        "lab/gpt-small-hot",
        "lab/gpt-small-cold",
    ]
    agrees(documents[0], TWIN)
    assert documents[0]["schedule"]["warmup_steps"] == 20
    assert documents[1]["outcome"]["status"] == "diverged"
    assert "final_loss" not in documents[1]["outcome"]
    assert "weight_decay" not in documents[2]["optimizer"]
    assert documents[0]["provenance"]["origins"]["dataset"] == "declared"


TABLE = """
[run]
id = "name"
final_loss_metric = "train/loss"
[columns]
lr = "/optimizer/learning_rate"
[metrics]
"train/loss" = { unit = "nats_per_token" }
[curves]
file = "curves.csv"
id = "name"
step = "it"
columns = { loss = "train/loss", lr = "train/learning_rate" }
"""


def table(
    folder: Path,
    mapping: str = TABLE,
    runs: str = "name,lr\na,1e-3\n",
    curves: str = "name,it,loss,lr\na,1,3.5,1e-3\n",
) -> list[dict]:
    """Return the runs of a small table."""
    (folder / "mapping.toml").write_text(mapping)
    (folder / "runs.csv").write_text(runs)
    (folder / "curves.csv").write_text(curves)
    return convert("csv", folder / "runs.csv", mapping=folder / "mapping.toml")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('id = "name"\nstep = "it"', 'step = "it"', "curves: 'id' is a required property"),
        ('id = "name"\nfinal', "id = 3\nfinal", "run.id: 3 is not of type 'string'"),
        ('lr = "/opt', 'lr = 3\nx = "/opt', "columns.lr: 3 is not of type 'object'"),
        ('lr = "/optimizer/learning_rate"', FIELD % 'as = "share"', "'share' is not one of"),
        ('lr = "/optimizer/learning_rate"', FIELD % 'times = "x"', "'x' is not of type 'number'"),
        ('lr = "/optimizer/learning_rate"', FIELD % "tims = 3", "'tims' was unexpected"),
        ('lr = "/optimizer/learning_rate"', FIELD % "values = 3", "3 is not of type 'object'"),
        ("optimizer/learning_rate", "optimizer/lr", '"/optimizer/lr" is not a field'),
        ('{ unit = "nats_per_token" }', "3", "metrics.train/loss: 3 is not of type 'object'"),
        ("[metrics]", "[metric]", "'metric' was unexpected"),
    ],
)
def test_what_is_wrong_with_a_mapping_is_said_with_its_place(
    before: str, after: str, words: str, tmp_path: Path
) -> None:
    """A misspelt `times` was passed over, and the value stood in another unit."""
    with pytest.raises(InputError) as caught:
        table(tmp_path, TABLE.replace(before, after))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"runs": "name,lr,lr\na,1e-3,2e-3\n"}, 'two columns are called "lr"'),
        ({"runs": "name,lr\na,fast\n"}, 'line 2: lr is "fast"'),
        ({"runs": 'name,lr\na,"0,001"\n'}, "is the comma a decimal mark"),
        ({"curves": "name,it,loss,lr\na,2.5,3.4,1\n"}, "it is 2.5; expected a whole number"),
        ({"curves": 'name,it,loss,lr\na,1,"3,21",1\n'}, 'loss is "3,21"'),
        ({"curves": 'name,it,loss,lr\na,1,"3,210",1\n'}, "is the comma a decimal mark"),
    ],
)
def test_a_cell_that_may_mean_something_else_is_refused(
    files: dict, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        table(tmp_path, **files)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("losses", "status", "steps"),
    [
        (("3.5", "3.4", "nan", "NaN"), "diverged", [1, 2]),
        (("3.5", "3.4", "inf", "-inf"), "diverged", [1, 2]),
        (("nan", "3.4", "nan", "3.3"), None, [2, 4]),  # nan is where nothing was logged
        (("3.5", "nan", "3.4", "nan"), None, [1, 3]),
        (("3.5", "3.4", "", ""), None, [1, 2]),
    ],
)
def test_a_table_whose_losses_end_as_nan_tells_a_diverged_run(
    losses: tuple, status: str | None, steps: list, tmp_path: Path
) -> None:
    rows = "".join(f"a,{step},{loss},1e-3\n" for step, loss in enumerate(losses, start=1))
    (document,) = table(tmp_path, curves=f"name,it,loss,lr\n{rows}")
    (curve,) = (c for c in document["curves"] if c["metric"] == "train/loss")
    assert (document["outcome"].get("status"), curve["step"]) == (status, steps)
    assert ("final_loss" in document["outcome"]) == (status is None)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/home/ada/runs/out", "~/runs/out"),
        ("/mnt/lustre/homes/ada", "~"),
        ("--out=/home/ada/x /home/ada/y", "--out=~/x ~/y"),
        ("C:\\Users\\ada\\out", "~\\out"),
        ("https://example.org/home/page", "https://example.org/home/page"),
        ("s3://bucket/home/data", "s3://bucket/home/data"),
        ("data/home/fineweb", "data/home/fineweb"),
        ("/data/fineweb", "/data/fineweb"),
    ],
)
def test_home_folders_are_not_given_away(path: str, kept: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"paths": {"out": [path]}}))
    (tmp_path / "history.jsonl").write_text('{"_step": 1, "train/loss": 5.0}\n')
    (document,) = convert("wandb", tmp_path)
    assert document["provenance"]["raw_config"] == {"paths": {"out": [kept]}}


@pytest.mark.parametrize(
    ("name", "text"),
    [("history.jsonl", '[1]\n{"_step": 1}\n'), ("history.csv", "_step,loss\n1,2\n2,3,4\n")],
)
def test_a_history_with_an_odd_row_is_one_sentence(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="is no row"):
        convert("wandb", tmp_path)


def test_a_wandb_export_gives_its_twin_without_secrets() -> None:
    (document,) = convert("wandb", LOGS / "wandb")
    agrees(document, TWIN)
    assert document["run_id"] == "lab/abc123"
    assert document["source_run"] == "gpt-small"
    assert document["outcome"]["status"] == "finished"
    text = json.dumps(document)
    assert "xxxxxxxx" not in text
    assert "hf_AAAA" not in text
    assert "system/gpu" not in text


def test_a_modded_nanogpt_log_gives_its_hand_written_twin() -> None:
    (document,) = convert("log", LOGS / "modded_nanogpt_soap.txt")
    ((_, twin),) = parse_yaml((LOGS / "modded_nanogpt_twin.yaml").read_text())
    assert {k: v for k, v in document.items() if k != "provenance"} == twin
    assert document["provenance"]["raw_config"]["batch_size"] == 512


@pytest.mark.parametrize(
    ("layout", "path", "options"),
    [
        ("hf", "huggingface", ["--set", "/system/n_devices=1"]),
        ("tensorboard", "tensorboard", ["--config", str(LOGS / "tensorboard" / "config.json")]),
        ("mlflow", "mlruns", []),
        ("log", "modded_nanogpt_soap.txt", []),
        ("wandb", "wandb", []),
        ("csv", "csv/runs.csv", ["--mapping", str(LOGS / "csv" / "mapping.toml")]),
    ],
)
def test_a_log_is_converted_validated_and_submitted(
    layout: str, path: str, options: list[str], tmp_path: Path
) -> None:
    out, catalog = str(tmp_path / "runs.jsonl"), str(tmp_path / "catalog")
    converted = ["convert", layout, str(LOGS / path), "--source", "lab", *options, "--out", out]
    for words in (converted, ["validate", out], ["submit", out, "--catalog", catalog]):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, (words, done.output)
    documents = [json.loads(line) for line in Path(out).read_text().splitlines()]
    stored = find_runs(Catalog(catalog), [d["run_id"] for d in documents])
    assert [stored[d["run_id"]].to_document() for d in documents] == documents


@pytest.mark.parametrize(
    ("comment", "batch"),
    [("# in tokens", 8), ("# batch size, in sequences", 8192), ("", None), ("# big", None)],
)
def test_a_batch_counts_only_with_its_unit(comment: str, batch: int | None, tmp_path: Path) -> None:
    log = tmp_path / "run.txt"
    log.write_text(
        f"sequence_length = 1024\nbatch_size = 8*1024 {comment}\nstep:0/10 val_loss:10.8\n"
        "step:10/10 val_loss:7.1\n"
    )
    (document,) = convert("log", log)
    assert document["schedule"].get("batch_size_sequences") == batch


@pytest.mark.parametrize(
    ("line", "metric", "step", "value", "unit"),
    [
        ("step:125/3350 val_loss:4.66393 train_time:22s", "validation/loss", 125, 4.66393, NATS),
        ("step 00010/99 (0.05%) | loss: 8.1234 | dt: 3ms", "train/loss_smoothed", 10, 8.1234, NATS),
        ("step 00010 (0.4%) | loss: 8.1234 | lrm: 1.00", "train/loss_smoothed", 10, 8.1234, NATS),
        ("Step 00250 | Validation bpb: 1.2345", "validation/bpb", 250, 1.2345, "bits_per_byte"),
        ("iter 100: loss 3.2101, time 10ms", "train/loss", 100, 3.2101, NATS),
        ("step 500: train loss 3.2000, val loss 3.3001", "validation/loss", 500, 3.3001, NATS),
        ("step    2/99 | loss 8.1234 (+nanz)| norm 9.1", "train/loss", 2, 8.1234, NATS),
        ("s:2 trl:8.1234 lr:0.000001 norm:15.20", "train/loss", 2, 8.1234, NATS),
        ("s:250 tel:6.4321", "validation/loss", 250, 6.4321, NATS),
        ("iter 100: loss 3.2101.", "train/loss", 100, 3.2101, NATS),
    ],
)  # fmt: skip
def test_the_lines_of_four_programs_are_known(
    line: str, metric: str, step: int, value: float, unit: str, tmp_path: Path
) -> None:
    (tmp_path / "run.log").write_text(f"{line}\n")
    (document,) = convert("log", tmp_path / "run.log")
    losses = [c for c in document["curves"] if not c["metric"].endswith(("_rate", "_norm"))]
    (curve,) = losses
    assert (curve["metric"], curve["step"], curve["value"]) == (metric, [step], [value])
    assert document["outcome"]["metrics"][0]["unit"] == unit


@pytest.mark.parametrize("lines", ["iter {}: loss {}, time 10ms", "step {}/900 | loss {} (+nanz)|"])
@pytest.mark.parametrize("lost", ["nan", "-nan", "inf"])
def test_a_log_that_ends_as_nan_diverged(lines: str, lost: str, tmp_path: Path) -> None:
    values = ((100, "5.5"), (200, lost), (300, lost))
    (tmp_path / "run.log").write_text("".join(f"{lines.format(*v)}\n" for v in values))
    (document,) = convert("log", tmp_path / "run.log")
    assert document["outcome"]["status"] == "diverged"
    assert "final_loss" not in document["outcome"]


def test_logs_of_one_name_in_two_folders_are_two_runs(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "log.txt").write_text("iter 100: loss 3.2, time 10ms\n")
    assert [d["run_id"] for d in convert("log", tmp_path)] == ["lab/a-log", "lab/b-log"]
    call = ["convert", "log", str(tmp_path), "--source", "lab", "--run", "one"]
    result = CliRunner().invoke(main, [*call, "--out", str(tmp_path / "runs.jsonl")])
    assert result.exit_code == 1
    assert '2 runs would be called "lab/one"' in result.stderr
    assert not (tmp_path / "runs.jsonl").exists()


@pytest.mark.parametrize(
    ("warmup", "steps"),
    [
        ({"warmup_steps": 0, "warmup_ratio": 0.1}, 40),
        ({"warmup_steps": 0, "warmup_ratio": 0.003}, 2),  # the Trainer rounds up
        ({"warmup_steps": 50, "warmup_ratio": 0.1}, 50),
        ({"warmup_steps": 50, "warmup_ratio": 0.0}, 50),
        ({"warmup_steps": 0, "warmup_ratio": 0.0}, 0),
    ],
)
def test_no_warmup_steps_beside_a_ratio_means_the_ratio(
    warmup: dict, steps: int, tmp_path: Path
) -> None:
    """Trainer: "warmup_steps: overrides any effect of warmup_ratio", where it is not zero."""
    state = (LOGS / "huggingface" / "trainer_state.json").read_text()
    (tmp_path / "trainer_state.json").write_text(state)
    (tmp_path / "training_args.json").write_text(json.dumps(warmup))
    (document,) = convert("hf", tmp_path)
    assert document["schedule"]["train_steps"] == 400
    assert document["schedule"]["warmup_steps"] == steps


@pytest.mark.parametrize("key", ["train/global_step", "trainer/global_step"])
def test_training_steps_are_told_from_wandbs_count_of_log_calls(key: str, tmp_path: Path) -> None:
    rows = [
        {"_step": 0, "table/note": 1.0},  # a call that names no training step has no place
        {"_step": 1, key: 100, "train/loss": 5.0},
        {"_step": 2, key: 200, "train/loss": 4.5},
    ]
    (tmp_path / "history.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (document,) = convert("wandb", tmp_path)
    assert document["curves"] == [
        {"metric": "train/loss", "step": [100, 200], "value": [5.0, 4.5]},
    ]
    assert document["outcome"]["final_step"] == 200


def test_nothing_of_a_logged_script_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (tmp_path / "run.log").write_text(
        f"weight_decay = __import__('pathlib').Path('{marker}').touch()\n"
        "num_iterations = 9**9**9**9\nstep:1/2 val_loss:3.5\n"
    )
    (document,) = convert("log", tmp_path / "run.log")
    assert not marker.exists()
    assert "optimizer" not in document


def test_a_converted_run_is_submitted_and_its_twin_recognized(tmp_path: Path) -> None:
    catalog = tmp_path / "catalog"
    runner = CliRunner()
    values = ["--set", "/system/n_devices=1", "--set", "/schedule/sequence_length=64"]
    out = tmp_path / "runs.jsonl"
    done = runner.invoke(
        main,
        ["convert", "hf", str(LOGS / "huggingface"), "--source", "lab", *values, "--out", str(out)],
    )
    assert done.exit_code == 0, done.output
    assert "not stated: /data/dataset. Add" in done.stderr
    assert runner.invoke(main, ["submit", str(out), "--catalog", str(catalog)]).exit_code == 0
    (tmp_path / "twin.json").write_text(json.dumps(REAL | {"run_id": "lab/by_hand"}))
    done = runner.invoke(
        main, ["submit", str(tmp_path / "twin.json"), "--catalog", str(catalog), "--json"]
    )
    problems = json.loads(done.stdout)["problems"]
    assert any("lab/huggingface" in p["found"] for p in problems)
    replaced = ["submit", str(LOGS / "twin.yaml"), "--catalog", str(catalog), "--replace", "--json"]
    assert runner.invoke(main, replaced).exit_code == 0
    (stored,) = find_runs(Catalog(catalog), ["lab/huggingface"]).values()
    (converted,) = (json.loads(line) for line in out.read_text().splitlines())
    kept = {k: v for k, v in stored.to_document().items() if k != "provenance"}
    assert kept == {k: v for k, v in converted.items() if k != "provenance"}


@pytest.mark.parametrize("layout", sorted(MODULES))
def test_a_path_that_holds_nothing_is_one_sentence(layout: str, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text('[run]\nid = "a"\n[columns]\n')
    args = ["convert", layout, str(tmp_path / "nothing"), "--source", "lab"]
    result = CliRunner().invoke(main, [*args, "--mapping", str(mapping)])
    assert result.exit_code in (1, 3)
    assert "Traceback" not in result.output
    assert result.stderr.startswith("error: ")
