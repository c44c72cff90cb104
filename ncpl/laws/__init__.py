"""Scaling laws: one small module a family."""
