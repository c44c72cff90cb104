"""The version of the package."""

from ncpl_data.terminal.version import __version__

__all__ = ["__version__"]
