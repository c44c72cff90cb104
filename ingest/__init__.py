"""Ingestion: sources, pipeline, and the ncpl-data command."""
