"""The limits of an inspection, and the error that says which one a file exceeds."""

from __future__ import annotations

import re
import signal

MIB = 1 << 20
TEXT = 64 * MIB
"""Bytes of the longest architecture, and of all lists of names together."""
TOKENS = 4_000_000
"""Values in an architecture; each takes about 100 bytes once it is read."""
DEPTH = 200
"""Levels of nesting in an architecture; Keras adds three for a model inside a model."""
OBJECTS = 1_000_000
"""Groups and datasets of an HDF5 file."""
MEMBERS = 10_000
"""Files of an archive."""
SLACK = 64 * MIB
"""Bytes that a file of any size may declare."""
EXPANSION = 100
"""Above `SLACK`: bytes that may be declared for each byte of the file."""
CHUNK = 1024 * MIB
"""Bytes of one chunk of a dataset."""
MEMORY = 1024 * MIB
"""Address space beside that of Python and its libraries."""

LINKED = "; Keras writes none, and such a file can read other files of yours; get it from its source again"
DAMAGED_HDF5 = "is a damaged or incomplete HDF5 file; download or save it again"
DAMAGED_ZIP = "is a damaged or incomplete zip (.keras) file; download or save it again"


class Refusal(Exception):
    """Why the file is not read: one line without the file's name."""


def limit_time(seconds: int) -> None:
    """Ends this process even if its parent has ended, and in the middle of a loop of HDF5."""
    if hasattr(signal, "alarm"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(seconds + 5)


def limit_memory(more: int) -> None:
    """Lets this process grow by ``more`` bytes; without a limit where the system does not report the present size."""
    try:
        import resource

        with open("/proc/self/statm") as stream:
            size = int(stream.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = size + more
    resource.setrlimit(resource.RLIMIT_AS, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


def check_json(text: str) -> None:
    """Refuses JSON that is too large or too deep to be read; whether it is JSON at all is not checked."""
    if sum(text.count(sign) for sign in ",[{") > TOKENS:
        raise Refusal(f"has more than {TOKENS:,} values in its architecture; no model needs that, save it again")
    depth = 0
    for token in _TOKEN.finditer(text):
        sign = text[token.start()]
        depth += (sign in "[{") - (sign in "]}")
        if depth > DEPTH:
            raise Refusal(f"nests its architecture more than {DEPTH} levels deep; no model needs that, save it again")


def utf8(value: str | bytes, name: str) -> str:
    """The value of the attribute or file ``name`` as text."""
    try:
        return value.encode().decode() if isinstance(value, str) else value.decode()  # h5py lets wrong bytes through
    except UnicodeError:
        part = "an unreadable architecture" if name == "model_config" else f"an unreadable '{name}'"
        raise Refusal(f"has {part} (it is not UTF-8 text); download or save it again") from None
