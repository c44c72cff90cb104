"""Settings for a budget."""
