"""Names of sources, told without loading them."""

from ncpl_data.ingest.sources import SOURCES
from ncpl_data.ingest.taken import FOLDER, is_source


def test_each_source_is_told_by_its_name_and_nothing_else_is() -> None:
    assert {path.stem for path in FOLDER.glob("[!_]*.py")} == set(SOURCES)
    assert all(map(is_source, SOURCES))
    assert not any(map(is_source, ("many", "__init__", "Marin", "../base")))
