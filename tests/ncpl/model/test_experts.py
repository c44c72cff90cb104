"""Mixtures of experts: sizes, answers with evidence, refusals, and what a snapshot teaches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import ncpl
from ncpl.cli import main
from ncpl.commands.train import train_main
from ncpl.data.mixtures import mixtures_in
from ncpl.data.sizes import mixture_sizes
from ncpl.data.snapshot import Snapshot
from ncpl.errors import BundleError
from ncpl.model.bundle import DEFAULT, read_card
from ncpl.model.experts import load_experts
from ncpl.model.seal import check_seal
from ncpl.train.experts import learn_experts
from ncpl_data.ingest.cli import main as data_main

SHAPE = {"n_layers": 16, "d_model": 1408, "d_ff": 3904, "n_heads": 11, "n_dense_layers": 1}
# Step Law's moe_lr_bs_loss.csv: experts, experts a token, their width, the shared one's; N and Na.
STEPLAW = [
    (8, 1, 3528, 3528, 2155174912, 590436352),
    (89, 1, 352, 352, 2150612992, 187973632),
    (88, 2, 352, 704, 2150612992, 232579072),
    (8, 3, 2888, 8664, 2156188672, 1241270272),
]
MIXTURE = SHAPE | {
    "n_experts": 8, "experts_per_token": 1, "d_ff_expert": 3528, "d_ff_shared_expert": 3528,
    "train_tokens": 2e10, "learning_rate": 6.905e-4, "batch_size_sequences": 128,
    "sequence_length": 2048, "source": "steplaw",
}  # fmt: skip
MEASURED = 2.2102
"""Step Law, 1 in 8, 20B tokens, learning rate .0006905, batch 128: smoothed loss."""
BARE = {"n_experts": 8, "experts_per_token": 2, "train_tokens": 1e10, "sequence_length": 2048}


def predicted(tmp_path: Path, configs: object, *options: str):
    file = tmp_path / "asked.json"
    file.write_text(json.dumps(configs))
    return CliRunner().invoke(main, ["predict", str(file), *options])


@pytest.mark.parametrize(("experts", "chosen", "width", "shared", "total", "active"), STEPLAW)
def test_sizes_follow_from_the_shape_to_the_last_parameter(
    experts, chosen, width, shared, total, active
):
    shape = SHAPE | {
        "n_experts": experts, "experts_per_token": chosen, "d_ff_expert": width,
        "d_ff_shared_expert": shared,
    }  # fmt: skip
    assert mixture_sizes(shape) == (total, active)


def test_a_mixture_like_those_of_step_law_is_answered_with_its_evidence(tmp_path):
    told = predicted(tmp_path, MIXTURE, "--json")
    assert told.exit_code == 0, told.output
    (p,) = json.loads(told.output)["predictions"]
    assert p["loss"] == pytest.approx(2.2380, abs=2e-3)  # golden: the shipped file
    assert p["low"] < MEASURED < p["high"]
    assert p["loss"] < p["baseline"]  # the law of the active size alone
    assert "by mixtures of routed_lms; none of steplaw is known" in p["warnings"][0]


def test_a_mixture_of_a_known_source_is_answered_by_its_own(tmp_path):
    """Clark et al., S-Base: 64 experts on 57M active parameters gave 2.494 and 2.503 (RL-R)."""
    asked = {
        "params_non_embedding": 1089766400, "params_active_non_embedding": 57369600,
        "n_experts": 64, "experts_per_token": 1, "train_tokens": 131072000000,
    }  # fmt: skip
    told = predicted(tmp_path, asked, "--source", "routed_lms", "--json")
    (p,) = json.loads(told.output)["predictions"]
    assert p["low"] < 2.494 < 2.503 < p["high"]
    assert "69 mixtures of routed_lms" in p["warnings"][0]


def test_dense_configurations_and_mixtures_stand_in_the_order_of_the_file(tmp_path):
    dense = {"params_non_embedding": 3e8, "train_tokens": 1e10, "source": "steplaw"}
    both = json.loads(predicted(tmp_path, [MIXTURE, dense], "--json").output)["predictions"]
    alone = json.loads(predicted(tmp_path, dense, "--json").output)["predictions"]
    assert "mixture" in both[0]["warnings"][0]
    assert both[1]["loss"] == pytest.approx(alone[0]["loss"], abs=1e-6)


def test_own_dense_runs_carry_a_mixture(tmp_path):
    runs = tmp_path / "mine.jsonl"
    runs.write_text(
        "\n".join(
            json.dumps({"params_non_embedding": n, "train_tokens": d, "final_loss": loss})
            for n, d, loss in ((3e7, 3e9, 3.21), (5e7, 5e9, 3.07), (1e8, 1e10, 2.89))
        )
    )
    asked = {k: v for k, v in MIXTURE.items() if k != "source"}
    told = predicted(tmp_path, asked, "--runs", str(runs), "--json")
    assert told.exit_code == 0, told.output
    assert "none of own is known" in json.loads(told.output)["predictions"][0]["warnings"][0]


@pytest.mark.parametrize(
    ("config", "options", "expected"),
    [
        (BARE | {"params_non_embedding": 2e9}, (), "needs params_active_non_embedding"),
        (BARE | {"params_non_embedding": 4.6e10, "params_active_non_embedding": 1.29e10}, (),
         "known mixtures of experts have 1.653e+07 to 3.681e+08"),
        (BARE | {"params_non_embedding": 9e10, "params_active_non_embedding": 1e8}, (),
         "all parameters over the active ones: 900"),
        (BARE | {"params_non_embedding": 1e8, "params_active_non_embedding": 2e8}, (),
         "above params_non_embedding"),
        (BARE | {"params_non_embedding": 2e9, "params_active_non_embedding": 2e8},
         ("--curve", "5"), "no curve of a mixture of experts"),
        (BARE | {"params_non_embedding": 2e9, "params_active_non_embedding": 2e8},
         ("--source", "routed_lms"), "known on 1.311e+11 tokens only"),
        (BARE | {"experts_per_token": 9}, (), "experts_per_token is 9, n_experts is 8"),
    ],
)  # fmt: skip
def test_what_no_mixture_tells_is_refused_in_a_sentence(tmp_path, config, options, expected):
    told = predicted(tmp_path, config, *options)
    assert told.exit_code != 0
    assert expected in told.output
    assert "Traceback" not in told.output


def test_a_changed_file_is_refused(tmp_path):
    (tmp_path / "experts.safetensors").write_bytes(b"other")
    with pytest.raises(BundleError, match="not the file"):
        load_experts(tmp_path, read_card(DEFAULT))
    assert load_experts(tmp_path, {}) is None


@pytest.fixture(scope="module")
def routed(tmp_path_factory) -> Snapshot:
    """Return a snapshot of the shipped runs of Clark et al. (CC-BY-4.0)."""
    folder = tmp_path_factory.mktemp("routed")
    for command in (["ingest", "routed_lms", "--offline"], ["snapshot", "--out", str(folder)]):
        told = CliRunner().invoke(data_main, [*command, "--catalog", str(folder / "catalog"), "-q"])
        assert told.exit_code == 0, told.output
    return Snapshot.open(next(p for p in folder.iterdir() if (p / "manifest.json").exists()))


def test_the_shipped_file_is_what_the_shipped_runs_teach(routed):
    bundle = ncpl.load()
    found = learn_experts(bundle, [fit.family[0] for fit in bundle.fits], *mixtures_in(routed))
    shipped = load_experts(DEFAULT, read_card(DEFAULT))
    assert np.allclose(found.weights, shipped.weights, atol=1e-6)
    assert found.half == pytest.approx(shipped.half, rel=1e-4)
    assert found.families["routed_lms"].n_runs == shipped.families["routed_lms"].n_runs == 69


def test_the_largest_size_is_held_out_and_no_group_stands_in_two_parts(routed):
    own = mixtures_in(routed)[0]["routed_lms"]
    sizes = {
        part: {row["params_active_non_embedding"] for row in own.where(part).rows}
        for part in ("train", "id", "ood")
    }
    assert sizes["ood"] == {1308819456}
    assert max(sizes["train"] | sizes["id"]) < 1308819456
    of = {part: set(own.where(part).group) for part in ("train", "id", "ood")}
    assert not of["train"] & of["id"]
    assert not of["train"] & of["ood"]


def test_a_bundle_that_stands_learns_mixtures_and_keeps_its_seal(routed, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT, bundle)
    told = CliRunner().invoke(
        train_main, ["--experts-for", str(bundle), "--snapshot", str(routed.path), "--json"]
    )
    assert told.exit_code == 0, told.output
    found = json.loads(told.output.splitlines()[-1])
    assert found["sources"] == ["routed_lms"]
    by = {(row["split"], row["method"]): row["mae"] for row in found["scores"]}
    assert by["ood", "own mixtures"] < 0.5 * by["ood", "dense at the active size"]
    check_seal(bundle)
    assert "## Mixtures of experts" in (bundle / "README.md").read_text()
    without = CliRunner().invoke(
        train_main, ["--experts-for", str(bundle), "--snapshot", "tests/fixtures/snapshot_steplaw"]
    )
    assert without.exit_code != 0
    assert "mixtures of several routers" in without.output
