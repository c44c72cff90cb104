"""What each part of the model gives: `python -m research.ablate`."""
