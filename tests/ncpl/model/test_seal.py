"""The hashes of a bundle's files: what is changed, gone or slipped in is refused in a sentence."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import ncpl
from ncpl.bundles import community_beside
from ncpl.cli import main
from ncpl.errors import BundleError
from ncpl.model.bundle import DEFAULT
from ncpl.model.community import load_community
from ncpl.model.seal import FILES, SEAL, check_seal, seal


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the bundle of the package."""
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT, folder)
    return folder


def widen(folder: Path) -> None:
    """Raise one calibration factor by 2%."""
    card = json.loads((folder / "card.json").read_text())
    factors = card["families"][0]["calibration"]
    name = next(iter(factors))
    factors[name] *= 1.02
    (folder / "card.json").write_text(json.dumps(card, indent=1))


def flip(name: str) -> Callable[[Path], None]:
    """Return what changes one bit in the middle of a file."""

    def apply(folder: Path) -> None:
        held = bytearray((folder / name).read_bytes())
        held[len(held) // 2] ^= 1
        (folder / name).write_bytes(held)

    return apply


def test_the_shipped_bundle_is_sealed() -> None:
    for folder in (DEFAULT, DEFAULT / "community"):
        names = {line.split("  ")[1] for line in (folder / SEAL).read_text().splitlines()}
        assert names == {name for name in FILES if (folder / name).is_file()}
        check_seal(folder)


def test_the_shipped_bundle_consists_of_known_files() -> None:
    """What FILES does not name would not be checked."""
    held = {p.relative_to(DEFAULT).as_posix() for p in DEFAULT.rglob("*") if p.is_file()}
    assert held - set(FILES) == {SEAL}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (widen, r"card\.json does not have the hash in SHA256SUMS"),
        (flip("README.md"), r"README\.md does not have the hash"),
        (flip("scores.json"), r"scores\.json does not have the hash"),
        (flip("known.parquet"), r"known\.parquet is not the file"),
        (flip("community/draws.safetensors"), "draws.safetensors does not have the hash"),
        (flip("community/SHA256SUMS"), r"community/SHA256SUMS does not have the hash"),
        (lambda f: (f / "scores.json").unlink(), r"scores\.json is missing, but SHA256SUMS"),
        (lambda f: (f / "config.json").write_text("{}"), r"config\.json is not listed"),
        (lambda f: (f / SEAL).write_text("../a\n"), "line 1: expected a SHA-256"),
        (lambda f: (f / SEAL).write_bytes(b"\xff"), "can not be read"),
        (lambda f: (f / SEAL).write_text(""), "is not listed in"),
        (lambda f: (f / "card.json").write_text("[" * 200_000), "is not JSON"),
        (lambda f: (f / "card.json").write_bytes(b"\xff\xfe"), "is not JSON"),
    ],
)
def test_a_changed_bundle_is_refused(
    copy: Path, change: Callable[[Path], object], message: str
) -> None:
    change(copy)
    with pytest.raises(BundleError, match=message) as refused:
        ncpl.load(copy)
    assert "\n" not in str(refused.value)
    told = CliRunner().invoke(main, ["card", "--bundle", str(copy)])
    assert told.exit_code == 1
    assert isinstance(told.exception, SystemExit)
    assert len(told.stderr.strip().splitlines()) == 1


def test_a_community_bundle_is_checked_where_it_is_opened_alone(copy: Path) -> None:
    card = copy / "community" / "card.json"
    card.write_text(card.read_text() + " ")
    with pytest.raises(BundleError, match=r"card\.json does not have the hash"):
        load_community(copy / "community")
    card.write_text("[" * 200_000)
    with pytest.raises(BundleError, match="holds no bundle with a readable"):
        load_community(copy / "community")


def test_hashes_taken_out_of_the_community_folder_are_missed(copy: Path) -> None:
    """Without them its card could be changed unseen by what opens that folder alone."""
    (copy / "community" / SEAL).unlink()
    with pytest.raises(BundleError, match=r"community/SHA256SUMS is missing"):
        community_beside(copy)


def test_a_bundle_without_hashes_opens_with_a_note(
    copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (copy / SEAL).unlink()
    with caplog.at_level(logging.WARNING):
        ncpl.load(copy)
    assert "has no SHA256SUMS" in caplog.text


def test_other_files_of_the_folder_are_nobodys_business(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    seal(copy)
    assert "notes.txt" not in (copy / SEAL).read_text()
    ncpl.load(copy)
