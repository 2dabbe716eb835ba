"""The operating system: files that are written whole or not at all, temporary folders, small text files, environment
variables, log lines of libraries, and the callback for progress. Nothing here knows models.
"""
