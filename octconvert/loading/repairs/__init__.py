"""Repairs of a configuration, one kind of difference between versions of Keras a module.

`octconvert.loading.repairing` calls them in order; each changes the records in place, and adds a note for the report.
"""
