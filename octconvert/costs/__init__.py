"""What one run of a model costs: MACs, parameters, activation memory; and whether this machine can run it."""
