"""Benchmarking: models side by side, exported for a runtime and timed on this machine.

In: Keras models with their names and MACs (`Subject`), and `octconvert.options.timing.BenchSettings`. Out: a `BenchRow`
for every runtime and model. Models run in processes of their own, so that neither TensorFlow nor each other's memory
disturbs the times.
"""
