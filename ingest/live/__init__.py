"""Clients of live projects: what they read is recorded in a folder, and ingested from there."""
