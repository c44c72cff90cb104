"""Exceptions of the toolkit.

    UserError, of `terminal`
    └── NcplDataError
        ├── InputError (also a ValueError)   the user gave something wrong; exit 1
        │   └── RawFileError                 a source's file is not what its sheet says
        ├── SourceUnreachableError           network or file not there; exit 3
        ├── ConflictError                    another writer won too often; exit 4
        └── IntegrityError                   a stored file is damaged or missing; exit 1

Each message says what was found, where, what was expected and what to do.
"""

from __future__ import annotations

from ncpl_data.terminal.errors import UserError


class NcplDataError(UserError):
    """Base of all errors of the data side."""


class InputError(NcplDataError, ValueError):
    """What the user gave can not be used."""


class RawFileError(InputError):
    """A raw file of a source is truncated, altered or of another shape than its sheet says."""

    def __init__(self, message: str, *, source: str, file: str, line: int | None = None) -> None:
        """Keep the place of the fault beside the message."""
        super().__init__(message)
        self.source = source
        self.file = file
        self.line = line


class SourceUnreachableError(NcplDataError):
    """A source can not be read here and now."""

    exit_code = 3


class ConflictError(NcplDataError):
    """Other writers kept committing first."""

    exit_code = 4


class IntegrityError(NcplDataError):
    """A file of the catalog or of a snapshot is not what its manifest says."""
