"""A planned model -> the rewritten Keras model, weights moved."""

from octconvert.rewriting.record import NewCall, NewLayer, weights_by_name
from octconvert.rewriting.rewrite import Rewritten, rewrite

__all__ = ["NewCall", "NewLayer", "Rewritten", "rewrite", "weights_by_name"]
