"""Text: numbers, names and characters as people read and type them. Pure functions on strings and numbers."""
