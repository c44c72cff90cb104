"""Pretrained against random base: both arms train alike, and the card keeps what was measured."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from ncpl.cli import main
from ncpl.data.snapshot import Runs, Snapshot
from ncpl.errors import ConfigError
from ncpl.language.base import load_base
from ncpl.language.forecast import residuals
from ncpl.language.network import LanguageNetwork
from ncpl.language.pipeline import data_of
from ncpl.language.sequence import Sequencer
from ncpl.language.settings import LanguageConfig
from ncpl.language.vocabulary import Vocabulary
from ncpl.model.bundle import DEFAULT
from ncpl.model.seal import seal
from research.ablate import bases
from research.ablate.__main__ import ablate
from research.ablate.bases import ARMS, Trial, compare_bases, shrunk
from research.ablate.parts import PAPER, merged

SHAPE = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 16, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
SETTINGS = """
base = "replaced"
sources = ["steplaw"]
units = "log"
fields = ["params_non_embedding", "data_tokens", "learning_rate", "batch_size_sequences"]
stage1_epochs = 0
stage2_epochs = 2
stage2_warmup_steps = 1
head_start_scale = 0.0
batch_size_runs = 60
evaluate_every = 2
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal language model as the hub keeps it."""
    folder = tmp_path_factory.mktemp("base") / "little"
    torch.manual_seed(5)
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SHAPE)).save_pretrained(folder)
    words = Vocabulary.of_words(["model size: data learning rate: batch loss at:"])
    PreTrainedTokenizerFast(tokenizer_object=words.tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def config(model: Path, tmp_path_factory: pytest.TempPathFactory) -> LanguageConfig:
    file = tmp_path_factory.mktemp("settings") / "settings.toml"
    file.write_text(SETTINGS)
    return dataclasses.replace(LanguageConfig.from_toml(file), base=str(model), base_layers=1)


def test_both_arms_are_trained_alike_on_training_runs_alone(
    snapshot: Snapshot, runs: Runs, config: LanguageConfig, model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(bases, "RATES", (1e-4, 3e-3))
    train = runs.where(split="train")
    few = train.take(np.arange(len(train)) % 4 == 0)
    starts: dict[str, list[dict[str, torch.Tensor]]] = {arm: [] for arm in ARMS}
    built = bases._Comparison.network

    def network(self: bases._Comparison, arm: str, seed: int) -> LanguageNetwork:
        found = built(self, arm, seed)
        starts[arm].append({n: t.clone() for n, t in found.base.state_dict().items()})
        return found

    monkeypatch.setattr(bases._Comparison, "network", network)
    whole_base = load_base(config, seed=0)
    assert whole_base.vocabulary is not None
    words = ["model", "size:", "data", "learning", "rate:", "batch", "loss", "at:"]
    used = sorted({i for word in words for i in whole_base.vocabulary.encode(word)} | {0})
    trials: list[Trial] = []
    rows = compare_bases(snapshot, few, config, n_search_epochs=1, n_folds=1, told=trials.append)

    weights = load_file(model / "model.safetensors")
    for name, tensor in starts["pretrained"][0].items():
        assert all(torch.equal(start[name], tensor) for start in starts["pretrained"])
        whole = weights[f"model.{name}"]
        kept = used if name == "embed_tokens.weight" else slice(None)
        assert torch.equal(tensor, whole[kept])
    first, *others = (start["layers.0.self_attn.q_proj.weight"] for start in starts["random"])
    assert not torch.equal(first, weights["model.layers.0.self_attn.q_proj.weight"])
    assert all(torch.equal(first, other) for other in others)

    scored = {trial.arm: trial for trial in trials if trial.fold}
    assert list(scored) == [row["variant"].split()[-1] for row in rows] == list(ARMS)
    for arm, trial in scored.items():
        tried = [t for t in trials if t.arm == arm and t.fold is None]
        assert len(tried) == (4 if arm == "pretrained" else 3)
        assert trial.recipe == min(tried, key=lambda t: t.chosen_mae).recipe
        assert all(t.n_epochs == 1 and t.left_out_mae is None for t in tried)
        assert 0 < trial.best_step <= trial.n_steps
    one, other = scored.values()
    assert (one.n_steps, one.n_runs, one.law_mae) == (other.n_steps, other.n_runs, other.law_mae)
    assert [row["inside"] for row in rows] == [t.left_out_mae for t in scored.values()]
    assert rows[0]["inside"] != rows[1]["inside"]
    assert all(row["inside"] < 0.1 for row in rows), "the law alone misses by about .04"
    assert rows[0]["note"] == rows[1]["note"]
    assert f"(about {one.n_steps} steps of 60 runs)" in rows[0]["note"]


def test_a_base_without_weights_has_nothing_to_compare(
    snapshot: Snapshot, runs: Runs, config: LanguageConfig
) -> None:
    for change in ({"base": "random"}, {"tokenizer": "words"}, {"is_pretrained": False}):
        with pytest.raises(ConfigError, match="give a base that has weights and a tokenizer"):
            compare_bases(snapshot, runs, dataclasses.replace(config, **change), n_search_epochs=1)
    with pytest.raises(ConfigError, match="base_layers is 3, but the base has only 2 layers"):
        compare_bases(snapshot, runs, dataclasses.replace(config, base_layers=3), n_search_epochs=1)


def row(variant: str, inside: float, **more: object) -> dict[str, object]:
    return {"source": "steplaw", "variant": variant, "inside": inside, **more}


def test_rows_replace_those_of_their_kind() -> None:
    parts = [row("as shipped", 0.1, outside=0.2), row("law alone", 0.3, outside=0.4)]
    paper = [row(f"{PAPER}, a, random", 0.5), row(f"{PAPER}, b, random", 0.6)]
    assert merged([], paper) == paper
    assert merged(parts, paper) == [*parts, *paper]
    assert merged(paper, parts) == [*parts, *paper]
    assert merged([*parts, *paper], parts[:1]) == [*parts[:1], *paper]
    again = row(f"{PAPER}, a, random", 0.7)
    assert merged([*parts, *paper], [again]) == [*parts, paper[1], again]


@pytest.fixture
def own_bundle(tmp_path: Path) -> Path:
    """A copy of the bundle of the package, with the ablations of its parts and no others."""
    folder = tmp_path / "own"
    shutil.copytree(DEFAULT, folder, ignore=shutil.ignore_patterns("*.py"))
    card = json.loads((folder / "card.json").read_text())
    card["ablations"] = [r for r in card["ablations"] if not r["variant"].startswith(PAPER)]
    (folder / "card.json").write_text(json.dumps(card))
    seal(folder)
    return folder


def test_rows_measured_elsewhere_come_onto_the_card(own_bundle: Path, tmp_path: Path) -> None:
    rows = [
        row(f"{PAPER}, smollm2, {arm}", error, note="420 steps of 32 runs.")
        for arm, error in (("pretrained", 0.0123), ("random", 0.0456))
    ]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"ablations": rows, "trainings": []}))
    before = (own_bundle / "weights.safetensors").read_bytes()
    parts = json.loads((own_bundle / "card.json").read_text())["ablations"]
    command = ["--rows", str(file), "--write", "--bundle", str(own_bundle)]
    result = CliRunner().invoke(ablate, command)
    assert result.exit_code == 0, result.output
    assert (own_bundle / "weights.safetensors").read_bytes() == before
    assert json.loads((own_bundle / "card.json").read_text())["ablations"] == [*parts, *rows]
    card = CliRunner().invoke(main, ["card", "--bundle", str(own_bundle)]).output
    assert card.strip() == (own_bundle / "README.md").read_text().strip()
    for line in (
        "| source | variant | inside | outside |",
        f"| steplaw | {PAPER}, smollm2, pretrained | 0.0123 | - |",
        f"| steplaw | {PAPER}, smollm2, random | 0.0456 | - |",
    ):
        assert line in card
    assert card.count("420 steps of 32 runs.") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected the output of python -m research.ablate --json"),
        ("[]", "expected the output of python -m research.ablate --json"),
        ('{"ablations": []}', "every row of ablations needs"),
        ('{"ablations": [{"source": "a", "variant": "b", "inside": NaN}]}', "every row"),
        ('{"ablations": [{"source": "a", "variant": 1, "inside": 0.1}]}', "every row"),
        ('{"ablations": [{"source": "a", "inside": 0.1}]}', "expected the output"),
    ],
)
def test_rows_that_are_none_are_refused(
    text: str, message: str, own_bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rows.json"
    file.write_text(text)
    before = (own_bundle / "card.json").read_bytes()
    command = ["--rows", str(file), "--write", "--bundle", str(own_bundle)]
    result = CliRunner().invoke(ablate, command)
    assert result.exit_code == 1
    assert message in result.output
    assert (own_bundle / "card.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "4"], "--layers, --epochs and --config go with --base"),
        (["--base", "smollm2", "--rows", "rows.json"], "--base or --rows, not both"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], message: str) -> None:
    result = CliRunner().invoke(ablate, options)
    assert result.exit_code == 2
    assert message in result.output


def test_a_base_of_few_tokens_reads_as_the_whole_one(
    snapshot: Snapshot, runs: Runs, config: LanguageConfig
) -> None:
    data = data_of(snapshot, runs.where(split="train"), config)
    queries = data.fold.queries[:20]
    whole = load_base(config, seed=0)
    few = shrunk(load_base(config, seed=0), data.train, config)
    assert few.vocabulary is not None
    assert few.vocabulary.size < 16 <= whole.shape.vocab_size
    assert few.model.get_input_embeddings().weight.shape == (few.vocabulary.size, 16)
    read = []
    for base in (whole, few):
        torch.manual_seed(0)
        assert base.vocabulary is not None
        network = LanguageNetwork(base.model).eval()
        found = residuals(network, Sequencer(base.vocabulary, config), queries, torch.device("cpu"))
        read.append(np.concatenate([found[i] for i in range(len(queries))]))
    assert read[0].std() > 0
    assert read[0].tolist() == read[1].tolist()


@pytest.mark.slow
def test_the_command_measures_and_writes(
    model: Path, snapshot: Snapshot, own_bundle: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS.replace("= 60", "= 400"))
    command = [
        "--base", str(model), "--layers", "1", "--epochs", "2", "--folds", "2",
        "--search-epochs", "1",
        "--config", str(settings),
        "--snapshot", str(snapshot.path), "--write", "--bundle", str(own_bundle), "--json",
    ]  # fmt: skip
    result = CliRunner().invoke(ablate, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [r["variant"] for r in found["ablations"]] == [
        f"{PAPER}, little's first 1 layer, {arm}" for arm in ARMS
    ]
    assert sorted({t["fold"] for t in found["trainings"] if t["fold"]}) == [1, 2]
    assert (
        json.loads((own_bundle / "card.json").read_text())["ablations"][-2:] == found["ablations"]
    )
