"""Reports: one file, nothing from outside, every number and its origin visible."""

import re
import xml.etree.ElementTree as ET

import numpy as np

from ncpl.bench import report
from ncpl.bench.svg import Dot, dot_plot, log_ticks, residual_panels, ticks
from ncpl.bench.svg_curves import curve_panels


def test_html_needs_nothing_else(quick_board) -> None:
    page = report.html(quick_board)
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_figures_are_well_formed(quick_board) -> None:
    found = re.findall(r"<svg.*?</svg>", report.html(quick_board), flags=re.DOTALL)
    assert len(found) == 2
    for figure in found:
        ET.fromstring(figure)


def test_quoted_rows_are_marked_and_sourced(quick_board) -> None:
    text = report.markdown(quick_board)
    assert "NCPL, Qwen3-1.7B fine-tuned (quoted)" in text
    assert "arXiv 2602.10300" in text


def test_leak_column_tells_which_constants_saw_the_test(quick_board) -> None:
    rows = {r["method"]: r["saw_test"] for r in quick_board.rows}
    assert rows["Step Law, published"].startswith("yes")
    assert rows["Step Law, refit"].startswith("no")
    assert rows["Chinchilla, reference constants"].startswith("possibly")


def test_rows_are_sorted_by_error(quick_board) -> None:
    values = [r["mae"] for r in report.ordered(quick_board.rows, "steplaw", "ood")]
    known = [v for v in values if v is not None]
    assert known == sorted(known)
    assert values[: len(known)] == known


def test_ticks_are_round() -> None:
    assert ticks(0, 0.083) == [0.0, 0.02, 0.04, 0.06, 0.08]
    assert ticks(-1.0, 1.0, 4) == [-1.0, -0.5, 0.0, 0.5, 1.0]


def test_names_are_escaped() -> None:
    dots = [Dot("<b>&", "id", 0.1, (0.05, 0.2), False), Dot("plain", "ood", 0.1, None, True)]
    ET.fromstring(dot_plot(dots, "a < b"))
    ones = np.array([1.0, 2.0])
    ET.fromstring(residual_panels([("<b>", ones, ones + 0.1)], "t"))


def test_log_ticks_are_round() -> None:
    assert log_ticks(0.004, 0.11) == [0.005, 0.01, 0.02, 0.05, 0.1]


def test_long_names_fit_beside_the_plot() -> None:
    """The label's place grows with the longest name: nothing is cut off at the left."""
    name = "A method with a name of about sixty letters, on two bases"
    figure = dot_plot([Dot(name, "id", 0.1, (0.05, 0.2), False)], "t")
    x = float(re.search(r'<text x="([\d.]+)"[^>]*>A method', figure).group(1))
    assert x > 7 * len(name)


def test_interval_down_to_zero_is_drawn() -> None:
    ET.fromstring(dot_plot([Dot("a", "id", 0.1, (0.0, 0.2), False)], "t"))


def test_long_legend_of_curves_wraps() -> None:
    """Three names of sixty letters: none may begin where it can not end inside the figure."""
    run = {"run_id": "a/b", "fraction": np.linspace(0.05, 1, 9), "loss": np.linspace(3, 2, 9)}
    names = [f"{letter} method with a name of some fifty letters, on a base" for letter in "ABC"]
    figure = curve_panels([run], {name: [run["loss"] + 0.01] for name in names}, "t")
    ET.fromstring(figure)
    width = float(re.search(r'viewBox="0 0 (\d+)', figure).group(1))
    for name in names:
        x = float(re.search(rf'<text x="([\d.]+)"[^>]*>{name}', figure).group(1))
        assert x + 6 * len(name) < width
