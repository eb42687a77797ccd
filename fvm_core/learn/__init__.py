"""What the Learn page plays with: toy risks and surfaces, the landscape of a real network, the bound, one image."""
