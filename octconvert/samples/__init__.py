"""Reading samples for a model: files, arrays, datasets -> `Samples`."""

from octconvert.samples.reading import read_samples
from octconvert.samples.values import Samples

__all__ = ["Samples", "read_samples"]
