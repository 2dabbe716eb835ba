"""Reads one file after the other, as a process that can be watched and killed: a path in, what came of it out."""

from __future__ import annotations

import gc
import json
import os
import sys


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    from octconvert.system import environment

    environment.set_defaults()
    import keras

    import octconvert
    from octconvert.errors import OctconvertError

    print("ready", file=answers)
    for line in sys.stdin:
        task = json.loads(line)
        try:
            if task["convert"]:
                octconvert.convert(task["path"], calibration=False)
            else:
                octconvert.load(task["path"])
            answer = ["a model", ""]
        except OctconvertError as error:
            answer = ["a line", str(error)]
        except Exception as error:
            answer = ["an unexpected error", f"{type(error).__name__}: {error}"]
        keras.utils.clear_session()
        gc.collect()
        print(json.dumps(answer), file=answers)


main()
