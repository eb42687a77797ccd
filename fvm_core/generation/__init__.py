"""Influential samples in text and image generation (sections 4.3 and 4.4 of the paper).

Importing it is cheap: torch, transformers, peft and diffusers are imported where they are used, and a missing one is an
error that names the pip command. The way of the data:

data         `pairs` what both sides share
models       `task` what tuning and scoring ask of a model, be it of text or of images
"""
