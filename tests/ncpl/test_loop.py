"""The whole loop by its commands: submit, snapshot, train, gate, predict; and a corrupted gift.

Three shipped sources and a made study, named as generated: its law is none of theirs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from ncpl.cli import main
from ncpl.commands.train import train_main
from ncpl_data.ingest.cli import main as data_main

SIZES, RATIOS = (1e7, 2.5e7, 6e7, 1.5e8, 4e8), (15, 30, 60, 120)
SETTINGS = """
width = 16
n_layers = 1
n_heads = 2
members = 1
steps = 60
calibration_folds = 0
process_share = 0.0
curve_steps = 0
"""


def measured(size: float, tokens: float) -> float:
    """Return the loss of the made study, nats per token."""
    return 2.35 + 0.75 * (size / 250e6) ** -0.22 + 0.3 * (tokens / 15e9) ** -0.35


def document(i: int, *, is_corrupted: bool = False) -> dict[str, Any]:
    """Return a run of the made study; where corrupted, its two larger sizes are in bits."""
    size, ratio = SIZES[i % 5], RATIOS[i // 5 % 4]
    steps = max(200, round(size * ratio / (256 * 1024)))
    tokens = steps * 256 * 1024
    loss = measured(size, tokens) + np.random.default_rng(i).normal(0, 0.003)
    if is_corrupted and size > SIZES[2]:
        loss /= np.log(2)
    return {
        "schema_version": "1.0",
        "run_id": f"generated_study/run_{i:03d}",
        "source": "generated_study",
        "model": {"params_non_embedding": int(size)},
        "optimizer": {"name": "adamw", "learning_rate": 2e-3 * (size / 250e6) ** -0.4},
        "schedule": {
            "shape": "cosine",
            "warmup_steps": 100,
            "train_steps": steps,
            "batch_size_sequences": 256,
            "sequence_length": 1024,
            "train_tokens": tokens,
        },
        "data": {"dataset": "generated_text", "tokenizer": "generated_tokenizer"},
        "outcome": {
            "status": "finished",
            "final_loss": round(float(loss), 5),
            "final_loss_metric": "eval/loss",
            "final_loss_unit": "nats_per_token",
        },
    }


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_contribution_is_learned_gated_and_answered_for(tmp_path: Path) -> None:
    settings = tmp_path / "fit.toml"
    settings.write_text(SETTINGS)
    sources = ("gemstones", "kyo_takano", "overtraining")

    def call(catalog: str, command: Any, *arguments: str, code: int = 0) -> Any:
        place = ["--catalog", str(tmp_path / catalog)]
        result = CliRunner().invoke(command, [*arguments, *place, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    def trained(catalog: str, out: str) -> None:
        call(catalog, data_main, "snapshot", "--split", "community")
        train = ["--snapshot", "latest", "--config", str(settings), "--out", str(tmp_path / out)]
        call(catalog, train_main, *train)

    def asked(out: str, *more: str, code: int = 0) -> Any:
        file = tmp_path / "asked.json"
        config = {"params_non_embedding": 8e8, "train_tokens": 3e10, "learning_rate": 1.3e-3}
        file.write_text(json.dumps(config))
        bundle = ["--bundle", str(tmp_path / out)]
        result = CliRunner().invoke(main, ["predict", str(file), *bundle, *more, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)["predictions"][0] if code == 0 else result.stderr

    for catalog in ("catalog", "poisoned"):
        call(catalog, data_main, "ingest", *sources, "--offline")
    trained("catalog", "old")
    for catalog, is_corrupted in (("catalog", False), ("poisoned", True)):
        runs = [document(i, is_corrupted=is_corrupted) for i in range(40)]
        file = tmp_path / f"{catalog}.jsonl"
        file.write_text("".join(json.dumps(run) + "\n" for run in runs))
        call(catalog, data_main, "submit", str(file))

    trained("catalog", "new")
    given = ["--against", str(tmp_path / "old")]
    found = call("catalog", main, "gate", str(tmp_path / "new"), *given)
    assert found["passes"]
    assert found["data"]["added"] == {"generated_study": 40}
    assert any("generated_study" in remark and "new" in remark for remark in found["remarks"])
    (influence,) = found["influence"]
    assert (influence["contribution"], influence["runs"] > 20) == ("generated_study", True)
    assert influence["scored"] >= 3

    truth = measured(8e8, 3e10)
    answer = asked("new", "--source", "generated_study")
    assert abs(answer["loss"] - truth) < 0.25 * abs(asked("old")["loss"] - truth)
    assert answer["low"] <= truth <= answer["high"]
    assert "no source 'generated_study' is known" in asked(
        "old", "--source", "generated_study", code=1
    )

    trained("poisoned", "spoilt")
    refused = call("poisoned", main, "gate", str(tmp_path / "spoilt"), *given, code=1)
    assert any("generated_study" in reason for reason in refused["reasons"])
