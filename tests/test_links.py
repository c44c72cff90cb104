"""Links between files of the repository resolve; every picture says what it shows."""

import re
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "catalog" / "FORMAT.md",
     ROOT / "schema" / "FIELDS.md", ROOT / "submissions" / "README.md"]
)  # fmt: skip
LINK = re.compile(r"(?P<image>!?)\[(?P<words>[^\]]*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")


def prose(page: Path) -> str:
    """Return a page without its code."""
    return CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    found = set()
    for line in FENCE.sub("", page.read_text(encoding="utf-8")).splitlines():
        if heading := re.match(r"#+ (.*)", line):
            kept = [
                c for c in heading[1].lower() if c in " -_" or unicodedata.category(c)[0] in "LN"
            ]
            found.add("".join(kept).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_of_a_page_resolve(page: Path) -> None:
    broken = []
    for link in LINK.finditer(prose(page)):
        target, _, anchor = link["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue  # another server's
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(link[0])
    assert broken == []


def test_every_picture_says_what_it_shows() -> None:
    pictures = [link for page in PAGES for link in LINK.finditer(prose(page)) if link["image"]]
    assert len(pictures) >= 2
    assert [p[0] for p in pictures if len(p["words"].split()) < 3] == []
