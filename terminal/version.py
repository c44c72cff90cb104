"""The version of the distribution `ncpl-data`."""

__version__ = "0.2.0"
