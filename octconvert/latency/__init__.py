"""Which tied groups gain time as pairs: measured on this machine, on the runtime that the model is converted for.

`fusing`: the parts that runtimes run as one; `probes`: each of them alone, plain and as a pair; `stopwatch`: their
times, measured once and kept; `timing`: of all parts; `groups`: the fastest set of groups; `objective`: all of it, and
the whole model beside its source.
"""
