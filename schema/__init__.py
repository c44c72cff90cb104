"""Schema of run documents: load, validate, describe."""
