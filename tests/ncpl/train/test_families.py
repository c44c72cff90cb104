"""Every family of a snapshot is trained on, or named with the reason why not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import ncpl
from ncpl.cli import train_main
from ncpl.data.snapshot import Snapshot

DENSE = {
    "params_non_embedding": 1e8, "train_tokens": 2e9, "learning_rate": 1e-3,
    "batch_size_sequences": 64, "sequence_length": 1024, "train_steps": 30517,
    "final_loss_unit": "nats_per_token", "n_experts": None,
}  # fmt: skip


def family(source: str, count: int, **values: Any) -> list[dict[str, Any]]:
    generator = np.random.default_rng(len(source))
    rows = []
    for i in range(count):
        size, rate = 10 ** generator.uniform(7.5, 8.5), 10 ** generator.uniform(-3.5, -2.5)
        row = DENSE | {
            "run_id": f"{source}/{i}", "source": source, "params_non_embedding": size,
            "learning_rate": rate, "final_loss": 2.0 + 3.0 * (size / 1e6) ** -0.2,
            "final_loss_metric": "loss",
        }  # fmt: skip
        rows.append(row | values)
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A snapshot of several families; one run of another family has the only curve."""
    rows = [
        *family("whole", 70),
        *family("few", 4),
        *family("bits", 70, final_loss_unit="bits_per_byte"),
        *family("unsized", 70, params_non_embedding=None),
        *family("experts", 70, n_experts=8),
        *family("apart", 5),
    ]
    splits = [
        {"run_id": row["run_id"], "split": "train", "split_group": f"{i % 9}"}
        for i, row in enumerate(rows)
        if row["source"] != "apart"
    ]
    curve = [
        {"run_id": "apart/0", "metric": "loss", "step": step, "value": 3.0} for step in (1, 2, 3)
    ]
    tables = {"runs": rows, "splits": splits, "curves": curve}
    for name, table in tables.items():
        pq.write_table(pa.Table.from_pylist(table), tmp_path / f"{name}.parquet")
    manifest = {
        "format": "ncpl-snapshot/1", "id": "e" * 64, "selection": {"policy": "group-hash"},
        "tables": {name: [{"path": f"{name}.parquet"}] for name in tables}, "sources": [],
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_a_family_without_curves_beside_one_with_has_no_points(folder: Path) -> None:
    snapshot = Snapshot.open(folder)
    runs = snapshot.runs()
    own = runs.take(np.array([run_id.startswith("whole/") for run_id in runs.run_ids]))
    assert np.isnan(snapshot.points(own).frac).all()


def test_each_family_is_trained_or_named_and_the_bundle_is_kept(folder: Path) -> None:
    out = folder / "bundle"
    config = folder / "config.toml"
    config.write_text(
        "members = 1\nsteps = 5\nmin_family_runs = 3\ncurve_steps = 5\nfloor = 0.9\n"
        "carry = 'yes'\ncalibration_folds = 0\nwidth = 8\nn_heads = 2\nn_layers = 1\n"
    )
    arguments = ["--snapshot", str(folder), "--config", str(config), "--out", str(out)]
    result = CliRunner().invoke(train_main, [*arguments, "--json", "--plot", str(folder / "a.png")])
    assert result.exit_code == 0, result.output
    assert "no plot" in result.stderr
    found = json.loads(result.stdout)
    assert found["split"] == "group-hash"
    told = {outcome["source"]: outcome for outcome in found["families"]}
    assert {name for name, outcome in told.items() if outcome["is_trained"]} == {"whole"}
    assert "5 parameters and only 4 rows" in told["few"]["reason"]
    assert "bits_per_byte" in told["bits"]["reason"]
    assert "70 that do not state size and tokens" in told["unsized"]["left_out"]
    assert "70 of mixtures of experts" in told["experts"]["left_out"]
    assert "none of its 5 runs" in told["apart"]["reason"]
    assert [fit.family[0] for fit in ncpl.load(out).fits] == ["whole"]
    text = CliRunner().invoke(train_main, arguments)
    assert text.exit_code == 0
    for line in (
        "whole (loss): trained on 70 runs",
        "unsized (loss): not trained; 0 training runs, expected 3 at least; left out: 70",
        "split group-hash, nats per token",
    ):
        assert line in text.stdout


@pytest.mark.slow
def test_families_trained_at_once_come_to_the_same(folder: Path) -> None:
    """One of the two has too few runs: its failure comes back from its process as a reason."""
    config = folder / "config.toml"
    config.write_text(
        "members = 1\nsteps = 5\nmin_family_runs = 3\ncurve_steps = 0\nfloor = 0.9\n"
        "carry = 'yes'\ncalibration_folds = 0\nwidth = 8\nn_heads = 2\nn_layers = 1\n"
    )
    weights = []
    for jobs in ("1", "2"):
        out = folder / f"bundle{jobs}"
        arguments = ["--snapshot", str(folder), "--config", str(config), "--out", str(out)]
        result = CliRunner().invoke(train_main, [*arguments, "--jobs", jobs, "--json"])
        assert result.exit_code == 0, result.output
        told = {one["source"]: one for one in json.loads(result.stdout)["families"]}
        assert told["whole"]["is_trained"]
        assert "5 parameters and only 4 rows" in told["few"]["reason"]
        weights.append((out / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]
