"""Scores, card, release gate."""
