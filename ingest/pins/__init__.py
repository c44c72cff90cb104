"""Hashes of upstream files, where a source has too many to list in its own file."""
