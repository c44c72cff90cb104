"""What a bundle is made of. No training."""
