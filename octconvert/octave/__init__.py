"""Octave arithmetic: channel splits, map sizes, alignment of low windows, suffixes of names. No layers, no tensors."""
