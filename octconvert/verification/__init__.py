"""Checks of a model, and files that get their name only after a check."""
