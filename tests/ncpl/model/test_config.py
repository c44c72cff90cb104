"""Settings: TOML in, one hash out, anything unknown refused."""

from pathlib import Path

import pytest

from ncpl.errors import ConfigError
from ncpl.model.config import FitConfig


@pytest.mark.parametrize("name", ["tiny", "demo", "default"])
def test_every_preset_reads(name: str) -> None:
    assert FitConfig.preset(name).steps > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("widht = 32", "unknown key 'widht'; did you mean width?"),
        ('width = "32"', "width is '32'; expected int"),
        ("width = true", "width is True; expected int"),
        ('context_fields = "n_layers"', "expected a list of names"),
        ("width = ", "cannot be read as TOML"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "fit.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"fit\.toml") as caught:
        FitConfig.from_toml(file)
    assert message in str(caught.value)


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="default, demo"):
        FitConfig.preset("huge")


def test_plain_values_give_the_same_settings_and_hash() -> None:
    config = FitConfig(width=32, recipe_fields=("learning_rate",))
    again = FitConfig.from_dict(config.to_dict(), where="here")
    assert again == config
    assert again.sha256() == config.sha256() != FitConfig().sha256()
