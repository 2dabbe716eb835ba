"""The script that inspects a model file of unknown origin in a process of its own.

HDF5 is a C library: a damaged file can make it loop without end, crash, or request any amount of memory. All of that
happens here first, under limits of time and memory, before the user's process opens the file. The whole structure is
visited (every link, the header of every dataset); data that pass filters are read once, chunk by chunk.

`octconvert.loading.inspection` starts ``__main__.py`` as a script. Nothing of octconvert, Keras or TensorFlow is
imported here, so modules of this folder import only one another, and only relatively.
"""
