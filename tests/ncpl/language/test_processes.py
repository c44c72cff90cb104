"""Real processes: killed and resumed, stopped by a signal, and two of them under torchrun."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ncpl.data.snapshot import Snapshot

pytestmark = pytest.mark.slow
ALONE = (sys.executable, "-m", "ncpl.cli", "train")
TWO = (
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
    "-m", "ncpl.cli", "train",
)  # fmt: skip
SETTINGS = """
base = "random"
tokenizer = "words"
sources = ["steplaw"]
fields = ["source", "params_non_embedding", "data_tokens", "learning_rate", "batch_size_sequences"]
stage1_epochs = 1
stage2_epochs = 4
stage1_learning_rate = 1e-3
stage2_learning_rate = 1e-3
stage2_warmup_steps = 2
batch_size_runs = 150
max_tokens = 1500
field_dropout = 0.1
ema_decay = 0.9
evaluate_every = 5
checkpoint_every = 4
[random_base]
model_type = "llama"
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 2
"""


@pytest.fixture(scope="module")
def command(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of every training here, apart from --out."""
    file = tmp_path_factory.mktemp("settings") / "fit.toml"
    file.write_text(SETTINGS)
    return ["--config", str(file), "--snapshot", str(snapshot.path), "--no-progress"]


def start(starter: tuple[str, ...], command: list[str], out: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*starter, *command, "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        start_new_session=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def wait_for_steps(folder: Path, n_steps: int) -> None:
    """Return when a running training has written that many lines."""
    file = folder / "metrics.jsonl"
    for _ in range(4000):
        if file.is_file() and file.read_bytes().count(b"\n") >= n_steps:
            return
        time.sleep(0.02)
    raise AssertionError("the training did not get that far")


@pytest.fixture(scope="module")
def unbroken(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a training by one process that nobody disturbed."""
    out = tmp_path_factory.mktemp("unbroken") / "bundle"
    finish(start(ALONE, command, out))
    return out


def assert_same(first: Path, second: Path, tolerance: float) -> None:
    """Check losses of every step, and every weight of the bundle."""
    numbers = [metrics(folder) for folder in (first, second)]
    assert [line["step"] for line in numbers[0]] == [line["step"] for line in numbers[1]]
    for name in ("loss", "held_out_mae"):
        values = [[line[name] for line in lines if name in line] for lines in numbers]
        assert values[0] == pytest.approx(values[1], abs=tolerance, rel=0), name
    weights = [load_file(folder / "weights.safetensors") for folder in (first, second)]
    for name, tensor in weights[0].items():
        assert (tensor - weights[1][name]).abs().max() <= tolerance, name
        assert tolerance or torch.equal(tensor, weights[1][name])


@pytest.mark.parametrize("n_steps", [6, 23])
def test_a_killed_training_resumes_to_the_same_weights_bit_for_bit(
    command: list[str], unbroken: Path, tmp_path: Path, n_steps: int
) -> None:
    out = tmp_path / "bundle"
    process = start(ALONE, command, out)
    wait_for_steps(out, n_steps)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (out / "card.json").exists()
    finish(start(ALONE, [*command, "--resume"], out))
    assert_same(unbroken, out, 0.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_exits_with_130(
    command: list[str], unbroken: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "bundle"
    process = start(ALONE, command, out)
    wait_for_steps(out, 13)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    finish(start(ALONE, [*command, "--resume"], out))
    assert_same(unbroken, out, 0.0)


def test_a_tracker_gets_the_metrics(command: list[str], tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    out = tmp_path / "bundle"
    given = [*command, "--track", "wandb", "--max-minutes", "0.05"]
    finish(start(("env", "WANDB_MODE=offline", *ALONE), given, out))
    assert list((out / "wandb").glob("offline-run-*/run-*.wandb"))


@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_two_processes_give_what_one_gives(
    command: list[str], unbroken: Path, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "bundle"
    finish(start(TWO, [*command, "--parallel", kind], out))
    assert json.loads((out / "card.json").read_text())["processes"] == 2
    assert_same(unbroken, out, 1e-4)


@pytest.mark.parametrize(("before", "after"), [(TWO, ALONE), (ALONE, TWO)])
def test_a_training_resumes_with_another_number_of_processes(
    command: list[str], unbroken: Path, tmp_path: Path, before: Any, after: Any
) -> None:
    out, sharded = tmp_path / "bundle", ["--parallel", "fsdp2"]
    process = start(before, [*command, *sharded], out)
    wait_for_steps(out, 13)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert (out / "training" / "checkpoint.safetensors").is_file()
    finish(start(after, [*command, *sharded, "--resume"], out))
    assert_same(unbroken, out, 1e-4)
