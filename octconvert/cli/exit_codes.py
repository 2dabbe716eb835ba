"""Exit codes: every number that the program ends with, and what it means. Help pages and docs/reports.md list these."""

from __future__ import annotations

DONE, FAILED, REFUSED, NOTHING_TO_CONVERT = 0, 1, 2, 3
HUNG_UP, INTERRUPTED, QUIT, READER_GONE, TERMINATED = 129, 130, 131, 141, 143

EXIT_CODES: dict[int, str] = {
    DONE: "done",
    FAILED: "a check failed, or something unexpected went wrong; nothing was written",
    REFUSED: "bad usage, or an input that can not be read; nothing was written",
    NOTHING_TO_CONVERT: "nothing to convert; nothing was written",
    HUNG_UP: "ended by SIGHUP",
    INTERRUPTED: "ended by Ctrl-C",
    QUIT: "ended by SIGQUIT",
    READER_GONE: "the reader of standard output has gone, as in octconvert ... | head",
    TERMINATED: "ended by SIGTERM",
}
