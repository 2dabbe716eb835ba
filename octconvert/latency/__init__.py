"""Which tied groups gain time as pairs: measured on this machine, on the runtime that the model is made for.

`units`: what runtimes run as one; `probes`: each of them alone, plain and as a pair; `stopwatch`: their times, measured
once and kept; `choice`: the fastest set of groups; `objective`: all of it, and the whole model against its source.
"""
