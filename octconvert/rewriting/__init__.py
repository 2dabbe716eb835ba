"""A planned model -> the rewritten Keras model, weights moved."""

from octconvert.rewriting.rewrite import Rewritten, rewrite

__all__ = ["Rewritten", "rewrite"]
