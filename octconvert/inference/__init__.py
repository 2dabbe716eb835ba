"""A model for inference alone: normalisation folded into the convolutions, built-in layers, forms that are fast."""

from octconvert.inference.emission import Forms
from octconvert.inference.forms import for_inference

__all__ = ["Forms", "for_inference"]
