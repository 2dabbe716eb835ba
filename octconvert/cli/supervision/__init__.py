"""The command line's task in a process of its own: what a library does to that process, the user still hears of.

`parent` starts it, passes signals on, removes what it leaves and says how it died; `worker` is that process.
"""

from octconvert.cli.supervision.parent import supervise

__all__ = ["supervise"]
