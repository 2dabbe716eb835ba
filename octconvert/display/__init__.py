"""Results as text and tables for a terminal, as pages of HTML for a browser or notebook, and as JSON.

Importing it registers a renderer for each class of result, see `octconvert.results.shown`.
"""

from octconvert.display import bench, export, maps, plan, printing, report
from octconvert.display.html import showing

__all__ = ["bench", "export", "maps", "plan", "printing", "report", "showing"]
