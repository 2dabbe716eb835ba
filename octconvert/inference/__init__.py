"""A model for inference alone: normalisation folded into the convolutions, built-in layers, forms that are fast."""

from octconvert.inference.forms import for_inference
from octconvert.inference.step_forms import Forms

__all__ = ["Forms", "for_inference"]
