"""The error a command reports in one sentence."""

from __future__ import annotations


class UserError(Exception):
    """What was found, where, what was expected and what to do, in one sentence."""

    exit_code = 1
