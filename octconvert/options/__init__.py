"""What a user asks for: frozen values, checked once; no Keras."""
