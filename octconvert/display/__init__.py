"""Results as text, tables, JSON and HTML."""
