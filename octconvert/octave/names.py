"""The suffixes of layers' names: what the layers are called that replace one layer of the source model.

A layer named ``conv`` becomes ``conv-H`` and ``conv-L`` for the two maps of a pair, and the four paths of a convolution
are ``conv-HH`` (high to high), ``conv-HL`` (high to low), ``conv-LH`` and ``conv-LL``.
"""

from __future__ import annotations

HIGH, LOW = "-H", "-L"
SUFFIXES = (HIGH, LOW)
"""Of the layers for the high and the low map of a pair, in this order."""

HH, HL, LH, LL = "-HH", "-HL", "-LH", "-LL"
PATHS = (HH, HL, LH, LL)
"""Of the layers for the paths of a convolution: source map, then target map."""

DEPTHWISE_SUFFIX = "-depthwise"
"""Of the depthwise step of a separable convolution."""
OCTAVE_SUFFIX = "-octave"
"""Of a layer whose name the merged output has to carry."""

PARTS = (DEPTHWISE_SUFFIX + HIGH, DEPTHWISE_SUFFIX + LOW, DEPTHWISE_SUFFIX, *PATHS, OCTAVE_SUFFIX, *SUFFIXES)
"""Of every layer with weights that one source layer may become, longer ones before their ends."""
PORTABLE = (*PATHS, *SUFFIXES, "-low", "-high", "-pool", "-pooled", "-up", "-add", "-act")
"""What begins behind a convolution's name in the names of the built-in layers that it becomes."""
