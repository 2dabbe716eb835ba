"""Least squares layer by layer: layers as regressions, their targets, and the sweep through the model."""
