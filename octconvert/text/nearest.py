"""What may have been meant by a word that is misspelled."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, words: Iterable[str], least: float = 0.6) -> str | None:
    """The word that is spelled most alike, upper case or not; None where none is alike.

    Args:
        least: from 0 to 1, how alike.
    """
    by_lower = {each.lower(): each for each in reversed(list(words))}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=least)
    return by_lower[close[0]] if close else None


def did_you_mean(word: str, words: Iterable[str], quote: str = "'") -> str:
    """'; did you mean 'slice'?', or nothing."""
    close = nearest(word, words)
    return f"; did you mean {quote}{close}{quote}?" if close is not None else ""


def listed(words: Iterable[str], last: str = "or") -> str:
    """'a', 'a or b', 'a, b or c'."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end
