"""Words, numbers and characters as people read and type them."""
