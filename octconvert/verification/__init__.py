"""Verification: checks of a model, and files that get their names only after a check.

In: the source model and the converted, inference or exported one. Out: `octconvert.results.report.Check` values, and
files that were written beside their targets, loaded or run, and compared before they took the place of their targets.
"""
