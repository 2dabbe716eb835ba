"""Repairs of the configuration of older files, one family of repairs a module."""
