"""What `import ncpl` gives: its names and their help, and what it does not import."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys

import ncpl
import ncpl_data.catalog

NAMES = ["__version__", "adapt", "load"]
HEAVY = ("numpy", "pyarrow", "torch", "scipy", "duckdb", "polars", "httpx", "click", "yaml")


def test_the_public_names_are_these() -> None:
    assert ncpl.__all__ == NAMES
    public = {name for name, value in vars(ncpl).items() if not inspect.ismodule(value)}
    hidden = {"TYPE_CHECKING", "Any", "Path", "annotations"}
    assert {n for n in public - hidden if not n.startswith("__")} == {"adapt", "load"}


def test_help_shows_each_name_and_how_to_call_it() -> None:
    told = pydoc.plain(pydoc.render_doc(ncpl))
    for part in (
        "adapt(runs:",
        "load(",
        "revision: 'str' = 'main'",
        'ncpl.load("owner/repo", revision=COMMIT)',
        'push_to_hub("owner/repo")',
        "told.loss, told.low, told.high",
    ):
        assert part in told, told


def test_help_of_the_catalog_shows_its_door() -> None:
    assert ncpl_data.catalog.__all__ == ["open"]
    assert 'cat.open("ncpl-catalog").runs()' in pydoc.plain(pydoc.render_doc(ncpl_data.catalog))


def test_importing_it_imports_nothing_heavy() -> None:
    code = f"import ncpl, sys; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
