"""What the model reads: snapshots, fields, consistency. No torch."""
