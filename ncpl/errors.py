"""Errors a user can act on.

NcplError (a UserError of `terminal`, and a ValueError)
├── SnapshotError   the snapshot folder is not what its manifest says
├── ConfigError     a fit configuration or a run configuration has a wrong field or value
├── BundleError     a bundle is damaged, or was made by another configuration
└── HubError        the hub cannot be read or written
"""

from __future__ import annotations

from ncpl_data.terminal.errors import UserError


class NcplError(UserError, ValueError):
    """Base of all errors of `ncpl`."""


class SnapshotError(NcplError):
    """A snapshot cannot be found or does not match its manifest."""


class ConfigError(NcplError):
    """A configuration names an unknown field, or a value outside its range."""


class BundleError(NcplError):
    """A bundle's files do not match its card."""


class HubError(NcplError):
    """A repository of the hub cannot be read or written."""

    exit_code = 3
