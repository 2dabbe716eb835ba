"""Notebooks: whether this process runs one, and libraries without their log lines in them."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

from octconvert.system.environment import LOG_LEVEL
from octconvert.system.streams import discarded_stderr


def in_notebook() -> bool:
    """Whether Python runs as the kernel of a notebook, and not as a script or in a terminal."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """In a notebook, hide what TensorFlow logs while it is imported, about oneDNN, CUDA and the processor.

    TensorFlow reads ``TF_CPP_MIN_LOG_LEVEL`` then, and keeps it. A level that the user has set stays; the environment
    is left as it was, for other processes that are started from here.
    """
    if not in_notebook() or "tensorflow" in sys.modules or LOG_LEVEL in os.environ:
        yield
        return
    os.environ[LOG_LEVEL] = "3"
    try:
        with discarded_stderr():
            yield
    finally:
        os.environ.pop(LOG_LEVEL, None)


@contextlib.contextmanager
def quiet_work() -> Iterator[None]:
    """In a notebook, hide what TensorFlow and the converters of other runtimes log while octconvert works.

    What Python prints is shown, and so are errors. A level that the user has set in the environment stays.
    """
    if not in_notebook() or LOG_LEVEL in os.environ:
        yield
        return
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with discarded_stderr():
            yield
    finally:
        logger.setLevel(level)
