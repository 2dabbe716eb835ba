"""A model for inference alone: normalisation folded into the convolutions, built-in layers, forms that are fast."""

from octconvert.inference.deploy import for_inference
from octconvert.inference.emission import Forms

__all__ = ["Forms", "for_inference"]
