"""Labels and decisions that other tools made, read back."""
