"""The machine: files, temporary folders, the environment."""
