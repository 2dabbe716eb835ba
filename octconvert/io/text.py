"""Other people's error messages in one line, and Keras without its log lines."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterable, Iterator

from absl import logging


def one_line(error: BaseException, most: int = 240) -> str:
    """``ValueError: what it says`` on one line, shortened."""
    said = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())  # Keras colours some of its messages
    whole = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return whole if len(whole) <= most else whole[: most - 3] + "..."


def extent(shape: Iterable[int | None]) -> str:
    """``224x224x3``, with ``?`` for what is open; a size that nobody would count is a power of ten."""
    return "x".join("?" if size is None else _number(size) for size in shape) or "1"


def _number(size: int) -> str:
    return str(size) if abs(size) < 10**12 else f"10^{int(size.bit_length() * 0.30103)}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keras' advice about file formats is no news to somebody who converts an old file."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
