"""The samples that a calibration works on: read from the user, or generated in the value range of the model."""
