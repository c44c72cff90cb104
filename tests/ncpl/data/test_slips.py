"""Names and numbers as people mistype them: all at once, each with what was meant and why."""

from pathlib import Path

import pytest

from ncpl.data.consistency import checked
from ncpl.data.slips import number_hint, unknown_names
from ncpl.errors import ConfigError
from ncpl.evaluate.configurations import parse_csv
from ncpl.forms.files import config_of, configs_of


def test_all_misspelt_names_are_told_at_once() -> None:
    told = unknown_names({"params_non_embeding": 3e8, "train_tokns": 1e10, "zzz": 1})
    assert told == (
        "3 unknown fields; 'params_non_embeding': the nearest known field is params_non_embedding; "
        "'train_tokns': the nearest known field is train_tokens; 'zzz': no field is near"
    )
    assert unknown_names({"params_non_embedding": 3e8, "train_tokens": 1e10}) is None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("N", "Which count?"), ("n_params", "params_non_embedding without"),
        ("D", "train_tokens"), ("dataset_size", "In tokens?"), ("optimiser", "is optimizer"),
        ("seqlen", "is sequence_length"),
    ],
)  # fmt: skip
def test_a_name_of_several_meanings_asks_which(name: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        checked({"params_non_embedding": 3e8, "train_tokens": 1e10, name: 1.0}, where="it")
    assert told in str(error.value)


def test_names_of_others_do_not_hide_slips_beside_them() -> None:
    config = {"params": 3e8, "tokens": 1e10, "learing_rate": 1e-3, "batchsize": 128}
    with pytest.raises(ConfigError) as error:
        config_of(config, "run.json", 1)
    for words in ("2 unknown fields", "learning_rate", "batch_size_sequences", "may count embed"):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0,001", "A decimal comma: write 0.001."),
        ("1,000", "for thousands or for decimals? Write 1000 or 1.000."),
        ("300,000,000", "Commas between thousands: write 300000000."),
        ("1.500.000", "Dots between thousands: write 1500000."),
        ("1 000", "Spaces between thousands: write 1000."),
        ("01.Mar", "A spreadsheet made a date of it"),
        ("3-Jan", "A spreadsheet made a date of it"),
        ("2024-03-01", "A spreadsheet made a date of it"),
        ("'1e-3", "An apostrophe of a spreadsheet: write 1e-3."),
        ("1e\u22123", "A minus sign of a text: write 1e-3."),
        ("0.1%", "A percentage: as a share it is 0.001."),
        ("#NAME?", "An empty cell: leave the field out."),
        ("300M", "Write 3e+08."),
    ],
)
def test_a_spreadsheets_number_is_told_how_to_write(text: str, told: str) -> None:
    assert told in number_hint(text)
    with pytest.raises(ConfigError) as error:
        parse_csv(f'params_non_embedding,learning_rate\n3e8,"{text}"\n', "sweep.csv")
    assert str(error.value).startswith("sweep.csv line 2: learning_rate is")
    assert told in str(error.value)


def test_a_text_that_tells_nothing_gets_no_hint() -> None:
    assert [number_hint(value) for value in ("abc", None, 3)] == ["", "", ""]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"params_non_embedding;learning_rate\n3e8;0,001\n", "commas between cells and points"),
        (b"sep=,\nparams_non_embedding,train_tokens\n3e8,1e10\n", "'sep=' is a spreadsheet's note"),
        ("params_non_embedding\n3e8\n".encode("utf-16"), "nor as UTF-16"),
    ],
)
def test_a_spreadsheets_file_is_told_how_to_save(content: bytes, told: str, tmp_path: Path) -> None:
    file = tmp_path / "sweep.csv"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        configs_of(file)
    assert told in str(error.value)
