"""Settings: presets read, a wrong one is one sentence, and a command knows which model it means."""

from pathlib import Path

import pytest

from ncpl.errors import ConfigError
from ncpl.language.quantities import check_fields, scaled
from ncpl.language.settings import LanguageConfig, chosen


@pytest.mark.parametrize("name", ["lm-tiny", "smollm2", "smollm2-cpu", "qwen3-1.7b"])
def test_every_preset_reads(name: str) -> None:
    config = LanguageConfig.preset(name)
    check_fields(config.fields)
    assert LanguageConfig.from_dict(config.to_dict(), where="card") == config


def test_the_papers_preset_has_the_references_settings() -> None:
    config = LanguageConfig.preset("qwen3-1.7b")
    assert (config.stage1_epochs, config.stage2_epochs) == (20, 1000)
    assert (config.stage1_learning_rate, config.stage2_learning_rate) == (5e-5, 1e-5)
    assert (config.adam_beta1, config.adam_beta2, config.weight_decay) == (0.9, 0.99, 0.01)
    assert (config.batch_size_runs, config.precision, config.units) == (480, "fp32", "linear")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"bse": "x"}, "unknown key 'bse'; did you mean base?"),
        ({"patience": "long"}, "patience is 'long'; expected int"),
        ({"units": "octaves"}, "units is 'octaves'; expected linear or log"),
        ({"compile": 1}, "compile is 1; expected bool"),
    ],
)
def test_a_wrong_setting_is_one_sentence(raw: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match="here: ") as caught:
        LanguageConfig.from_dict(raw, where="here")
    assert message in str(caught.value)


def test_an_unknown_field_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'colour' cannot be read"):
        check_fields(("colour",))


def test_a_base_or_a_preset_that_names_one_asks_for_a_language_model(tmp_path: Path) -> None:
    assert chosen(None, None, None) is None
    assert chosen("default", None, None) is None
    tiny = chosen("lm-tiny", None, None)
    assert tiny is not None
    assert tiny.base == "random"
    given = chosen(None, None, "a/b")
    assert given is not None
    assert given.base == "a/b"
    with pytest.raises(ConfigError, match="'demo' is none"):
        chosen("demo", None, "a/b")
    file = tmp_path / "own.toml"
    file.write_text("width = 16\n")
    assert chosen(None, file, None) is None


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [  # the reference's table, in its own units: N 268M, D 5B, and so on
        ("params_non_embedding", 268e6, 2.68),
        ("data_tokens", 5e9, 5.0),
        ("d_model", 1024, 10.24),
        ("learning_rate", 2e-3, 20.0),
        ("warmup_steps", 2000, 20.0),
        ("weight_decay", 0.1, 10.0),
        ("batch_size_sequences", 1024, 102.4),
        ("min_learning_rate", 1e-5, 0.1),
        ("min_lr_ratio", 0.1, 20.0),
        ("train_steps", 2384, 2.384),
        ("n_layers", 8, 8.0),
        ("fraction", 0.25, 0.25),
    ],
)
def test_numbers_are_scaled_as_the_reference_does(name: str, raw: float, expected: float) -> None:
    assert scaled(name, raw, "linear") == pytest.approx(expected)
