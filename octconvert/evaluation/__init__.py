"""Metrics on labelled samples: which ones fit a model's first output and the labels, and their values.

`outputs` and `labels` say what both are, `metrics` chooses by that, `evaluator` runs models and measures.
"""

from octconvert.evaluation.evaluator import Evaluator, first_outputs

__all__ = ["Evaluator", "first_outputs"]
