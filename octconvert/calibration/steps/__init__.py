"""The steps of a calibration, one in each file: each takes a state and returns the next one, behind `attempt`."""
