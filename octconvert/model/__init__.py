"""A Keras model: its call graph, its costs, running and copying it."""
