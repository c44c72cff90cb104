"""Sources: one file a publisher of training logs."""
