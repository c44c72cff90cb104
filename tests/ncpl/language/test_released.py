"""The authors' weights: a tiny random model saved in their layout, asked the way they ask it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from ncpl.errors import BundleError
from ncpl.language.base import write_shape
from ncpl.language.released import FIELDS, convert, load_released
from ncpl.language.vocabulary import Vocabulary
from ncpl.laws.chinchilla import REFERENCE

CONFIG = {
    "source": "steplaw", "params_non_embedding": 268e6, "train_tokens": 5e9, "n_layers": 8,
    "n_heads": 16, "d_model": 1024, "optimizer": "adamw", "learning_rate": 1e-3,
    "warmup_steps": 2000, "weight_decay": 0.1, "batch_size_sequences": 512,
    "sequence_length": 2048, "min_learning_rate": 1e-5, "train_steps": 4768,
}  # fmt: skip
NUMBERS = (
    ("model size", 2.68), ("data size", 5.0), ("num layers", 8.0), ("num heads", 16.0),
    ("hidden dim", 10.24), None, ("learning rate", 10.0), ("warmup", 20.0), ("weight decay", 10.0),
    ("batch size", 51.2), ("minlr", 0.1),
)  # fmt: skip
"""Words and scaled values, worked out by hand; None is the line of the optimizer."""


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A folder as cloned from the hub, with the shape and tokenizer of the base beside it."""
    torch.manual_seed(3)
    words = " ".join(w for pair in NUMBERS if pair for w in f"{pair[0]}:".split())
    texts = [words, "optimizer: adamw max step: frac: loss: final loss:"]
    vocabulary = Vocabulary.of_words(texts)
    shape = AutoConfig.for_model(
        "qwen3", hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, vocab_size=vocabulary.size, bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip
    base = AutoModel.from_config(shape, dtype=torch.float32)
    numbers = nn.Sequential(nn.Linear(1, 64), nn.ReLU(), nn.Linear(64, 32))
    head = nn.Linear(32, 1)
    state: dict[str, Tensor] = {}
    for name, module in (("base", base), ("num_mlp", numbers), ("head", head)):
        state |= {f"module.{name}.{key}": value for key, value in module.state_dict().items()}
    torch.save({"model_state_dict": state, "epoch": 3}, tmp_path / "pytorch_model.bin")
    write_shape(shape, tmp_path)
    vocabulary.save(tmp_path / "tokenizer.json")
    return tmp_path


def their_way(folder: Path, tail: list[str | float]) -> float:
    """Return the residual of one point from one sequence of its own, worked by hand."""
    raw = torch.load(folder / "pytorch_model.bin", weights_only=True)["model_state_dict"]
    state = {name.removeprefix("module."): tensor for name, tensor in raw.items()}
    base = AutoModel.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32).eval()
    base.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("base.")})
    vocabulary = Vocabulary.from_file(folder / "tokenizer.json")
    parts: list[str | float] = []
    for pair in NUMBERS:
        parts += [f"{pair[0]}: ", pair[1], "\n"] if pair else ["optimizer: adamw\n"]
    vectors = []
    for part in [*parts, "max step: ", 4.768, *tail]:
        if isinstance(part, str):
            vectors += [base.embed_tokens.weight[i] for i in vocabulary.encode(part)]
            continue
        inner = torch.relu(
            state["num_mlp.0.weight"] @ torch.tensor([part]) + state["num_mlp.0.bias"]
        )
        vectors.append(state["num_mlp.2.weight"] @ inner + state["num_mlp.2.bias"])
    with torch.no_grad():
        hidden = base(inputs_embeds=torch.stack(vectors)[None]).last_hidden_state[0, -1]
    return float(state["head.weight"][0] @ hidden + state["head.bias"][0])


def test_a_pickle_is_refused_with_the_way_out(released: Path) -> None:
    with pytest.raises(BundleError, match=r"is a pickle, which is never loaded.*convert\("):
        load_released(released, has_curves=False)


def test_the_converted_model_predicts_what_the_authors_way_gives(released: Path) -> None:
    convert(released)
    bundle = load_released(released, has_curves=True)
    law = float(REFERENCE["steplaw"].predict(268e6, 5e9))
    expected = [
        law + their_way(released, ["frac: ", 0.25, "loss: "]),
        law + their_way(released, ["frac: ", 0.5, "loss: "]),
        law + their_way(released, ["final loss: "]),
    ]
    assert bundle.curves([CONFIG], [0.25, 0.5, 1.0])[0].tolist() == pytest.approx(
        expected, abs=1e-5
    )
    assert bundle.predict([CONFIG])[0].loss == pytest.approx(expected[2], abs=1e-5)
    assert FIELDS[-1] == "train_steps", "max step comes last"


def test_a_pickle_that_would_run_code_is_not_converted(released: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (released / "ran",))  # type: ignore[return-value]

    torch.save({"model_state_dict": {"head.weight": Harm()}}, released / "pytorch_model.bin")
    with pytest.raises(BundleError, match="cannot be read as tensors only"):
        convert(released)
    assert not (released / "ran").exists()
    assert not (released / "model.safetensors").exists()


def test_weights_of_another_shape_are_refused(released: Path) -> None:
    convert(released)
    write_shape(
        AutoConfig.for_model("qwen3", hidden_size=64, num_hidden_layers=2, vocab_size=9), released
    )
    with pytest.raises(BundleError, match="does not fit the shape"):
        load_released(released, has_curves=False)


def test_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"neither model.safetensors nor pytorch_model.bin"):
        load_released(tmp_path, has_curves=False)
