"""A finding: the run that one document holds, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ncpl_data.catalog.record import Run
from ncpl_data.ingest.submissions.checks import check_run
from ncpl_data.ingest.submissions.curve_file import CurveFileError, read_curve_file
from ncpl_data.ingest.submissions.documents import Document
from ncpl_data.schema.batch import explain
from ncpl_data.schema.validate import Problem


@dataclass(frozen=True)
class Finding:
    """One examined document: the run it holds, or what is wrong with it."""

    document: Document
    run: Run | None
    problems: tuple[Problem, ...] = ()

    def as_dicts(self) -> Iterator[dict[str, Any]]:
        """Yield each problem as a JSON object with its place."""
        for problem in self.problems:
            yield {
                "file": self.document.file,
                "line": self.document.line_of(problem.pointer),
                "run_id": self.document.run_id,
                **problem.as_dict(),
                "pointer": self.document.pointer + problem.pointer,
            }


def examine(document: Document) -> Finding:
    """Return a document's run, or every problem it has."""
    content, problems = checked(document)
    if problems:
        return Finding(document, None, tuple(problems))
    return Finding(document, Run.from_document(content))


def checked(document: Document) -> tuple[Any, list[Problem]]:
    """Return a document with its curves inline, and what is wrong with it."""
    content = document.content
    if document.is_valid:
        return content, []
    if document.problem is not None:
        return content, [document.problem]
    problems = explain(content, "run")
    if problems:
        return content, problems
    curves = content.get("curves")
    if isinstance(curves, dict):
        try:
            if document.folder is None:
                raise CurveFileError("file", "a curve file", "inline curves")
            inline = read_curve_file(document.folder, curves["file"])
        except CurveFileError as error:
            return content, [error.problem]
        content = {**content, "curves": inline}
        problems = explain(content, "run")
    return content, problems or check_run(content)


def refuse(finding: Finding, problems: Sequence[Problem]) -> Finding:
    """Return a finding that was refused after all."""
    return Finding(finding.document, None, tuple(problems))
