"""Files that are not those of the data sheet: another revision, a recording, a damaged copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from ncpl_data.catalog.errors import RawFileError
from ncpl_data.ingest.cli import main
from ncpl_data.ingest.pipeline import explained
from ncpl_data.ingest.sources import SOURCES

FIXTURES = Path(__file__).parents[1] / "fixtures"
UNKNOWN = "its files are not of the form that its reader knows"


@pytest.mark.parametrize(
    ("source", "file", "before", "after", "words"),
    [
        ("marin", "runs.jsonl", '"loss"', '"los"', UNKNOWN),
        ("marin", "runs.jsonl", '"tokens": 2684354560', '"tokens": NaN', UNKNOWN),
        ("regmix", "test_pile_loss_1B.csv", "metric", "matric", "no column that starts"),
        ("observational", "base_llm_benchmark_eval.csv", None, None, "each run needs one"),
    ],
)
def test_what_a_reader_can_not_read_is_one_sentence(
    source: str, file: str, before: str | None, after: str | None, words: str, tmp_path: Path
) -> None:
    shutil.copytree(FIXTURES / source, tmp_path / "raw")
    text = (tmp_path / "raw" / file).read_text()
    if before is None or after is None:  # the second line again
        lines = text.splitlines(keepends=True)
        changed = "".join([*lines[:2], *lines[1:]])
    else:
        assert before in text
        changed = text.replace(before, after)
    (tmp_path / "raw" / file).write_text(changed)
    call = ["ingest", source, "--from", str(tmp_path / "raw"), "--catalog", str(tmp_path / "c")]
    for more in ([], ["--accept-changed"]):
        result = CliRunner().invoke(main, [*call, *more], catch_exceptions=False)
        assert result.exit_code == 1
        assert f"error: {source}" in result.stderr
        assert words in result.stderr or not more
    assert not (tmp_path / "c").exists()


def test_a_failure_on_the_files_of_the_data_sheet_passes_as_the_mistake_of_ours_it_is() -> None:
    source = SOURCES["marin"]
    with pytest.raises(KeyError), explained(source, source.origins[0], is_pinned=True):
        raise KeyError("loss")
    with (
        pytest.raises(RawFileError, match="KeyError: 'loss'"),
        explained(source, source.origins[0], is_pinned=False),
    ):
        raise KeyError("loss")


def test_an_altered_row_that_contradicts_itself_is_refused_though_the_file_is_accepted(
    tmp_path: Path,
) -> None:
    """Eight times the tokens of batch, length and steps; the other rows of the file enter."""
    shutil.copytree(FIXTURES / "marin", tmp_path / "raw")
    runs = tmp_path / "raw" / "runs.jsonl"
    lines = runs.read_text().splitlines(keepends=True)
    assert '"tokens": 2684354560' in lines[0]
    lines[0] = lines[0].replace('"tokens": 2684354560', '"tokens": 21474836480')
    runs.write_text("".join(lines))
    call = ["ingest", "marin", "--from", str(tmp_path / "raw"), "--catalog", str(tmp_path / "c")]
    result = CliRunner().invoke(main, [*call, "--accept-changed"])
    assert result.exit_code == 0, result.output
    assert "1 rejected: contradiction" in result.output
    assert "8 added" in result.output
