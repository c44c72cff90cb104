"""The folder: what is written, what is refused, and that texts stay texts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ncpl_data.explore.build import PAGES
from ncpl_data.explore.pack import number, packed, write_script
from ncpl_data.ingest.cli import main

CALL = re.compile(r"NCPL\.receive\(\"([^\"]+)\", '(.*)'\);\n", re.DOTALL)


def content_of(path: Path) -> Any:
    """Return what a data file holds, by the rules of JavaScript's quotes."""
    found = CALL.fullmatch(path.read_text("ascii"))
    assert found is not None
    return json.loads(found[2].replace("\\'", "'").replace("\\\\", "\\"))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1, 2.5, None], {"v": [1, 2.5, None]}),
        (["b", None, "b", "a"], {"d": ["b", "a"], "i": [0, -1, 0, 1]}),
        ([True, False], {"d": ["yes", "no"], "i": [0, 1]}),
        ([["x"], 3], {"d": ['["x"]', "3"], "i": [0, 1]}),
        ([float("nan"), float("inf")], {"v": [None, None]}),
    ],
)
def test_a_column_is_numbers_or_texts_once_each(values: list[Any], found: dict[str, Any]) -> None:
    assert packed(values) == found


def test_numbers_keep_eight_digits() -> None:
    assert number(2.123456789123) == 2.1234568
    assert number(268304384) == 268304384


def test_hostile_text_comes_back_as_it_was(tmp_path: Path) -> None:
    text = {"__proto__": "</script>'\\'\u2028\n\"${x}`"}
    write_script(tmp_path / "x.js", "x", text)
    assert content_of(tmp_path / "x.js") == text


def test_the_folder_holds_all_that_its_first_page_names(site: Path) -> None:
    html = (site / "index.html").read_text("utf-8")
    for name in re.findall(r'(?:src|href)="([^"#:]+)"', html):
        assert (site / name).is_file(), name
    assert (site / "vendor/uplot/LICENSE").is_file()


def test_pages_name_no_other_place_and_allow_no_code_in_texts() -> None:
    html = (PAGES / "index.html").read_text("utf-8")
    assert "default-src 'none'; script-src 'self'" in html
    assert "unsafe" not in html
    for path in [*(PAGES / "app").iterdir(), *(PAGES / "model").iterdir(), PAGES / "style.css"]:
        text = path.read_text("utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|eval\(|https?://|fetch\(", text
        ), path


def test_predictions_are_those_of_the_bundle(site: Path, small_catalog: Path) -> None:
    import ncpl
    from ncpl_data.explore.tables import read_catalog

    table = content_of(site / "data/runs.js")["columns"]
    rows = read_catalog(small_catalog).rows
    assert [row is None for row in table["predicted"]["v"]] == [
        row["run_id"] == "steplaw/hostile" for row in rows
    ]
    row = {k: v for k, v in rows[1].items() if k in ncpl.load().fits[0].encoder.stated[""]}  # type: ignore[attr-defined]
    (told,) = ncpl.load().predict([row])
    assert table["predicted"]["v"][1] == pytest.approx(told.loss, abs=1e-6)


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, small_catalog: Path, run_command: Callable[..., Any]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine", "utf-8")
    done = run_command(main, "explore", "--catalog", small_catalog, "--out", tmp_path)
    assert done.exit_code == 1
    assert "holds no explorer" in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_explorer_is_written_again_and_told_as_json(
    tmp_path: Path, small_catalog: Path, run_command: Callable[..., Any]
) -> None:
    for _ in range(2):
        done = run_command(
            main,
            "explore",
            "--catalog",
            small_catalog,
            "--out",
            tmp_path / "site",
            "--no-model",
            "--json",
        )
        told = json.loads(done.stdout)
        assert (told["runs"], told["predicted"]) == (13, 0)
        assert told["first_view_bytes"] < 3_000_000
    assert not (tmp_path / "site/data/model.js").exists()


def test_open_says_so_where_there_is_no_browser(
    tmp_path: Path,
    small_catalog: Path,
    run_command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    words = ("--catalog", small_catalog, "--out", tmp_path / "site", "--no-model", "--open")
    done = run_command(main, "explore", *words)
    assert done.exit_code == 0
    assert f"no browser to open here; open {tmp_path / 'site/index.html'} yourself" in done.stderr


def test_what_is_no_board_is_refused_in_one_sentence(
    tmp_path: Path, small_catalog: Path, run_command: Callable[..., Any]
) -> None:
    (tmp_path / "x.json").write_text("[]", "utf-8")
    done = run_command(
        main,
        "explore",
        "--catalog",
        small_catalog,
        "--out",
        tmp_path / "s",
        "--board",
        tmp_path / "x.json",
    )
    assert done.exit_code == 1
    assert "is no transfer board" in done.output
    assert not (tmp_path / "s").exists()


def test_vendored_files_are_those_recorded() -> None:
    table = (PAGES / "vendor/README.md").read_text("utf-8")
    for name in ("LICENSE", "uPlot.iife.min.js", "uPlot.min.css"):
        digest = hashlib.sha256((PAGES / "vendor/uplot" / name).read_bytes()).hexdigest()
        assert f"| `{name}` | `{digest}` |" in table
