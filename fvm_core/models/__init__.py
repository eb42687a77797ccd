"""Classifiers, checkpoints and the tensors that go in."""
