"""The options of the public functions: frozen values, checked once, without Keras."""
