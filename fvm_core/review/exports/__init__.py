"""Reviewed labels, with or without the images, in the forms that other tools load."""
