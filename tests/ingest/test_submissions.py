"""Every file under submissions/ is what its README asks for, and enters a catalog whole."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl_data.ingest.cli import main
from ncpl_data.ingest.sources import SOURCES
from ncpl_data.ingest.submissions.documents import read_documents

FOLDER = Path(__file__).parents[2] / "submissions"
FILES = sorted(FOLDER.rglob("*.jsonl"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(FOLDER)))
def test_each_run_is_of_its_folder_and_names_contributor_and_licence(path: Path) -> None:
    assert path.parent.parent == FOLDER
    for document in read_documents([path]):
        run = document.content
        assert run["source"] == path.parent.name
        assert run["source"] not in SOURCES
        assert run["provenance"].get("contributor"), run["run_id"]
        assert run["provenance"].get("licence"), run["run_id"]


def test_all_of_them_enter_one_catalog(tmp_path: Path) -> None:
    args = ["submit", str(FOLDER), "--catalog", str(tmp_path / "catalog"), "--json"]
    result = json.loads(CliRunner().invoke(main, args, catch_exceptions=False).stdout)
    assert result["problems"] == []
    assert result["added"] == sum(1 for _ in read_documents([FOLDER])) >= 1
