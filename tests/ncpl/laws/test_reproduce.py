"""Published findings, each inside its band (points: ncpl/laws/points/ORIGIN.md)."""

from pathlib import Path

import pytest

from ncpl.bench.reproduce import CHECKS, check_epoch
from ncpl.errors import ConfigError


@pytest.mark.parametrize("name", CHECKS)
def test_finding_lies_in_its_band(name) -> None:
    checks = list(CHECKS[name](0))
    assert checks
    for check in checks:
        assert check.passed, check


def test_epoch_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="svg_extracted_data"):
        list(check_epoch(file, 0))
