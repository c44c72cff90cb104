"""Run documents from contributors: read, check, submit."""
