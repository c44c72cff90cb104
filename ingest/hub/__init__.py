"""Snapshots in dataset repositories of the Hugging Face hub."""
