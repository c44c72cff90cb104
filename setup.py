"""What pyproject.toml can not say: every subpackage, and the README as a package index shows it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
ROOTS = {
    "terminal": "ncpl_data.terminal",
    "schema": "ncpl_data.schema",
    "catalog": "ncpl_data.catalog",
    "ingest": "ncpl_data.ingest",
    "explore": "ncpl_data.explore",
    "ncpl": "ncpl",
}
LINK = re.compile(r"(?P<image>!?)\[(?P<words>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def readme_on_index(text: str, repository: str | None, version: str) -> str:
    """Return a README whose links lead somewhere when it stands alone.

    Links to files go to the release's tag in the repository. While that has no public address, they
    are words, and pictures are left out: a package index would show them broken.
    """

    def link(match: re.Match[str]) -> str:
        if re.match(r"[a-z]+:", match["target"]):
            return match[0]
        if repository is None:
            return "" if match["image"] else match["words"]
        view = "raw" if match["image"] else "blob"
        place = f"{repository.rstrip('/')}/{view}/v{version}/{match['target']}"
        return f"{match['image']}[{match['words']}]({place})"

    return re.sub(r"\n{3,}", "\n\n", LINK.sub(link, text))


def main() -> None:
    """Hand both to setuptools."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    readme = (ROOT / "README.md").read_text("utf-8")
    repository = project["urls"].get("Repository")
    setup(
        packages=[
            package
            for folder, name in ROOTS.items()
            for package in (name, *(f"{name}.{child}" for child in find_packages(folder)))
        ],
        long_description=readme_on_index(readme, repository, project["version"]),
        long_description_content_type="text/markdown",
    )


if __name__ == "__main__":
    main()
