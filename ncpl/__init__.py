"""NCPL: predict the loss of a pretraining run from its configuration."""

__version__ = "0.1.0"
