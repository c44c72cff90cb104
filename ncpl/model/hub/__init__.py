"""Bundles in model repositories of the Hugging Face hub."""
