"""The arithmetic of octave tensors: channel splits and map sizes."""
