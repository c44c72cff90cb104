"""What people, and their spreadsheets, make of names and numbers is told with the cure."""

from __future__ import annotations

import pytest

from ncpl_data.schema.validate import check_document

RUN = {"schema_version": "1.0", "run_id": "lab/a", "source": "lab"}


def hints(section: str, **values: object) -> dict[str, str]:
    """Return the hint of each problem by the last part of its place."""
    problems = check_document({**RUN, section: values}, "run")
    return {p.pointer.rpartition("/")[2]: p.hint or "" for p in problems}


def test_all_misspelt_fields_are_told_at_once_each_with_what_it_may_mean() -> None:
    found = hints("model", params=1e8, n_layer=12, hidden=768, heads=12)
    assert sorted(found) == ["heads", "hidden", "n_layer", "params"]
    assert found["n_layer"] == 'Did you mean "n_layers"?'
    assert "Which count? params_total" in found["params"]
    assert '"d_model"' in found["hidden"]
    assert '"n_kv_heads"' in found["heads"]


@pytest.mark.parametrize(
    ("section", "name", "words"),
    [
        ("schedule", "batch_size", "Of what? batch_size_sequences"),
        ("schedule", "Batch-Size", "Of what? batch_size_sequences"),
        ("schedule", "tokens", "Which tokens?"),
        ("schedule", "warmup", "Counted in what?"),
        ("outcome", "loss", "Which loss? final_loss"),
        ("model", "bits", "weight_bits"),
    ],
)
def test_a_name_of_several_meanings_is_asked_about(section: str, name: str, words: str) -> None:
    assert words in hints(section, **{name: 1})[name]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("0,001", "write 0.001"),
        ("2,5e-3", "write 2.5e-3"),
        ("1,234", "Write 1234 or 1.234"),
        ("1.234.567", "write 1234567"),
        ("1 234 567", "write 1234567"),
        ("1\u202f234", "write 1234"),
        ("10%", "as a share it is 0.1"),
        ("#N/A", "leave the field out"),
        ("-", "leave the field out"),
        ("3/4/2026", "made a date of it"),
        ("4-Mar", "made a date of it"),
        ("1.5B", "Write the number 1500000000"),
        ("unknown", "Leave the field out"),
    ],
)
def test_what_a_spreadsheet_makes_of_a_number_is_told(value: str, words: str) -> None:
    assert words in hints("optimizer", learning_rate=value)["learning_rate"]
