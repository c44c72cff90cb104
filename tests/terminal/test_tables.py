from __future__ import annotations

from ncpl_data.terminal.tables import aligned, table_text


def test_numbers_stand_right_and_names_left() -> None:
    rows = [{"name": "a", "n": 1200}, {"name": "long", "n": None}]
    assert table_text(rows).splitlines() == [
        "name      n",
        "----  -----",
        "a     1,200",
        "long",
    ]


def test_a_control_character_is_spelt_out() -> None:
    assert "\\u001b[2J" in table_text([{"note": "\x1b[2J"}])


def test_the_first_row_of_cells_is_the_head() -> None:
    assert aligned([["a", "b"], ["long", "c"]]) == ["a     b", "----  -", "long  c"]
