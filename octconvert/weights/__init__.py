"""Moving trained weights into the paths of octave layers."""
