"""Training on noisy labels; tuning to a (flat) minimum of the validation risk; measuring sharpness."""
