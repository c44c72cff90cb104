"""Figures of a bundle against a snapshot; matplotlib is imported when one is drawn."""
