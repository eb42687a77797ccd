"""Where a model sees the images: penultimate features, a map of them, and each image's nearest ones."""
