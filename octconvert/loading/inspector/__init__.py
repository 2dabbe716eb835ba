"""The script that inspects a model file in a process of its own."""
