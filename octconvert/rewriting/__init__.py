"""A planned model -> the rewritten Keras model."""
