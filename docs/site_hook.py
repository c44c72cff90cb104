"""What the site adds to this folder: pages that lie elsewhere, commands, notebooks.

MkDocs calls the functions `on_...`. A link between files of the repository becomes one between
pages; one to a file that is no page keeps its words only.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "LOG.md": "log.md",
    "catalog/FORMAT.md": "reference/format.md",
    "docs/data.md": "reference/data.md",
    "ncpl/weights/README.md": "reference/card.md",
    "schema/FIELDS.md": "reference/fields.md",
    "submissions/README.md": "submissions.md",
    "README.md": "index.md",
}
"""Files of the repository that are pages, though not by lying in docs/; README.md is the start."""
LINK = re.compile(r"(?<!!)\[(?P<words>[^\]]+)\]\((?P<target>[^)\s]+)\)")
PICTURE = re.compile(r"!\[png\]\(\S+\)")
BASH = re.compile(r"^```\w*\n%%bash\n", re.MULTILINE)
FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here, and those that lie elsewhere."""
    made = dict(notebooks())
    made["reference/commands.md"] = reference()
    for path, uri in ELSEWHERE.items():
        if path != "README.md":
            made[uri] = relinked((ROOT / path).read_text("utf-8"), path, uri)
    for uri, content in made.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Return the text of a page of this folder with links between files made links of the site."""
    del config, files
    uri = page.file.src_uri
    is_ours = page.file.abs_src_path is not None
    return relinked(markdown, f"docs/{uri}", uri) if is_ours else markdown


def relinked(text: str, path: str, uri: str) -> str:
    """Return a text whose links between files of the repository are links between pages."""

    def link(match: re.Match[str]) -> str:
        target, mark, anchor = match["target"].partition("#")
        if not target or ":" in target:
            return match[0]
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        page = ELSEWHERE.get(meant)
        if page is None and meant.startswith("docs/"):
            page = meant.removeprefix("docs/")
        if page is None:
            return match["words"]
        there = posixpath.relpath(page, posixpath.dirname(uri) or ".")
        return f"[{match['words']}]({there}{mark}{anchor})"

    parts = FENCE.split(text)
    return "".join(part if i % 2 else LINK.sub(link, part) for i, part in enumerate(parts))


def reference() -> str:
    """Return the page of all commands: what each says to --help."""
    from ncpl.cli import main as ncpl
    from ncpl.cli import train_main
    from ncpl_data.ingest.cli import main as ncpl_data

    lines = ["# Commands", "", "What each command says to `--help`."]
    programs = {"ncpl": ncpl, "ncpl-train": train_main, "ncpl-data": ncpl_data}
    for name, program in programs.items():
        for words, text in helps(program, name, None):
            lines += ["", f"{'##' if words == name else '###'} {words}", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"


def helps(
    command: click.Command, name: str, parent: click.Context | None
) -> Iterator[tuple[str, str]]:
    """Yield the words by which each command is called, and its help."""
    context = click.Context(
        command, parent, name, max_content_width=100, help_option_names=["-h", "--help"]
    )
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from helps(found, child, context)


def notebooks() -> Iterator[tuple[str, str | bytes]]:
    """Yield a page for each notebook, with its outputs as they are stored, and its figures.

    By nbconvert, which runs the notebooks too: a plugin would bring a second reader of them, and
    its own scripts into each page.
    """
    from nbconvert import MarkdownExporter

    for file in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        text, resources = MarkdownExporter().from_filename(str(file))
        descriptions = described(json.loads(file.read_text("utf-8")))
        for name, content in resources["outputs"].items():
            yield f"notebooks/{file.stem}_{name}", content
        names = [match[0] for match in PICTURE.finditer(text)]
        for shown, description in zip(names, descriptions, strict=True):
            name = shown.rpartition("(")[2]
            text = text.replace(shown, f"![{description}]({file.stem}_{name}", 1)
        text = BASH.sub(r"```bash\n", text)
        uri = f"notebooks/{file.stem}.md"
        head, _, rest = text.partition("\n")
        note = f"This page is a notebook, with what it printed: [{file.name}]({file.name}).\n"
        yield uri, relinked(f"{head}\n\n{note}{rest}", f"docs/{uri}", uri)


def described(notebook: dict[str, Any]) -> list[str]:
    """Return what the pictures of a notebook show, in their order."""
    return [
        output["metadata"]["image/png"]["alt"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
