"""Other people's error messages in one line, and Keras without its log lines."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator

from absl import logging

from octconvert.errors import cause, kind


def one_line(error: BaseException, most: int = 240) -> str:
    """``ValueError: what it says`` on one line, shortened; of an error that Keras wrapped, what is inside."""
    said = " ".join(cause(error).split())
    whole = f"{kind(error)}: {said}" if said else kind(error)
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
