"""Text from files and libraries -> text that is safe to print: no control characters, on one line."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Control and format characters (escape sequences, changes of direction), halves of characters, line breaks."""
_BREAKS = re.compile(r"\s*[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]\s*")


def printable(text: str, instead: str = "?") -> str:
    """``text`` with ``instead`` in place of each control character and of those that a terminal can not show."""
    if text.isprintable():
        return text
    return "".join(instead if unicodedata.category(sign) in _HIDDEN else sign for sign in text)


def line(text: str, most: int = 640, end: int = 190) -> str:
    """``text`` on one line of at most ``most`` characters; of a longer one the last ``end`` are kept too."""
    whole = printable(_BREAKS.sub(" ", text).strip())
    return whole if len(whole) <= most else f"{whole[: most - end - 5]} ... {whole[-end:]}"
