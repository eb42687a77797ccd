"""Passes over the training set: one module an estimator, each from its mathematics to the columns of a batch."""
