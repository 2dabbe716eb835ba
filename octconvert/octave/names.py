"""Names of the two halves of a pair and of the four paths of an octave convolution, as layer names end in them."""

from __future__ import annotations

HIGH = "-H"
LOW = "-L"
SUFFIXES = (HIGH, LOW)
"""Of the layer for the high map and of that for the low map."""

PATHS = ("HH", "HL", "LH", "LL")
"""The paths of an octave convolution: from the high or low input to the high or low output."""
