"""Configurations as people write them: read from any framework's file, written back to some."""
