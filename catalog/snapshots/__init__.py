"""Frozen snapshots: take, write, read, verify, describe."""
