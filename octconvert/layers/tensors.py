"""Names for what layers take and return, in annotations: Keras and its backends have no types of their own for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

from octconvert.octave.geometry import Shape

Tensor: TypeAlias = Any
"""A ``keras.KerasTensor`` while a model is built, a tensor of the backend while it runs."""
Maps: TypeAlias = Tensor | Sequence[Tensor]
"""One tensor, or a pair ``[high, low]``; 4-D: (batch, rows, columns, channels) in channels_last."""
Shapes: TypeAlias = Shape | Sequence[Shape]
"""The same for shapes."""
End = TypeVar("End")
"""What belongs to one of the last two axes of a kernel: a number of channels, or a range of them."""
