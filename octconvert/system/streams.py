"""What libraries write to the streams of this process."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def discarded_stderr() -> Iterator[None]:
    """Discard what is written to descriptor 2, C++ included.

    TensorFlow 2.21 logs a few lines before it looks at TF_CPP_MIN_LOG_LEVEL; converters log what they raise as well.
    """
    sys.stderr.flush()
    with open(os.devnull, "wb") as nowhere:
        saved = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
