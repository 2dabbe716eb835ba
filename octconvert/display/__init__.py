"""Results as text and tables for a terminal, as HTML for a notebook, and as JSON.

Importing it registers a renderer for each class of result, see `octconvert.results.shown`.
"""

from octconvert.display import bench, export, maps, plan, printing, report

__all__ = ["bench", "export", "maps", "plan", "printing", "report"]
