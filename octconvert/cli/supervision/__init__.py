"""Does the command line's task in a process of its own, so that the user hears of it when a library ends that process.

`parent` starts it, forwards signals, removes temporary files and reports how it died; `worker` is that process.
"""

from octconvert.cli.supervision.parent import supervise

__all__ = ["supervise"]
