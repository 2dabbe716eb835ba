"""The stages of a conversion, in order."""
