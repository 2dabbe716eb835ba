"""The command line as a user starts it: a process of its own, whose worker can be met on its way."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers

from octconvert.system import environment

ROOT = Path(__file__).resolve().parents[3]
PATIENCE = 300
"""Seconds after which a test is stuck."""

OWN = '''
import ctypes, glob, os, signal, tempfile, time
from pathlib import Path
import keras
import tensorflow as tf


def _die():
    os.kill(os.getpid(), getattr(signal, os.environ["DEATH"]))


def _here():
    """Tell the test that this process has come so far."""
    Path(tempfile.mkdtemp()).joinpath("left").touch()
    Path("reached.part").write_text(str(os.getpid()))
    os.replace("reached.part", "reached")


def dies(batch):
    _die()


def dies_the_second_time(batch):
    if not os.path.exists("reached"):
        _here()
    if int(Path("reached").read_text()) != os.getpid():
        _die()
    return batch


def dies_once_it_is_saved(labels, outputs):
    if os.path.exists("out.keras"):
        _die()
    return 1.0


def ends(batch):
    os._exit(0)


def exits(batch):
    raise SystemExit(0)


def sleeps(batch):
    _here()
    time.sleep(3600)


def waits(batch):
    if not os.path.exists("reached"):
        _here()
        Path("go").read_text()
    return batch


def ignores_signals(batch):
    _here()
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # none wakes this thread
    ctypes.PyDLL(None).sleep(3600)  # in C, and nothing else of Python may run


class Fatal(keras.layers.Layer):
    """Dies of its gradient, as oneDNN did."""

    def call(self, x):
        @tf.custom_gradient
        def same(x):
            return tf.identity(x), lambda dy: tf.py_function(lambda dy: _die() or dy, [dy], dy.dtype)

        return same(x)


class Waits(keras.layers.Layer):
    """Meets the signal while a step of the calibration runs."""

    def call(self, x):
        from octconvert.system import interrupts

        if hasattr(x, "numpy") and interrupts.may_request() and not os.path.exists("reached"):
            _here()
            time.sleep(3600)
        return tf.identity(x)  # which can not be opened


class Saved(keras.layers.Layer):
    """Meets the signal when a saved file is loaded again, which lies beside the target by then."""

    def call(self, x):
        return tf.identity(x)

    @classmethod
    def from_config(cls, config):
        if glob.glob(".*.keras") + glob.glob(".*.h5"):
            if "DEATH" in os.environ:
                _die()
            _here()
            time.sleep(3600)
        return super().from_config(config)
'''


def prepare(folder: Path) -> None:
    """Models, data and own code."""
    keras.utils.set_random_seed(3)
    (folder / "own.py").write_text(OWN)
    np.save(folder / "x.npy", np.random.default_rng(0).random((80, 16, 16, 3), "float32"))
    np.savez(folder / "labelled.npz", x=np.load(folder / "x.npy"), y=np.arange(80) % 4)
    namespace: dict = {}
    exec(OWN, namespace)
    own = {name.lower(): namespace[name] for name in ("Fatal", "Saved", "Waits")}
    for name, kind in {"net": layers.Activation, **own}.items():
        image = keras.Input((16, 16, 3))
        x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv1")(image)
        x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2")(x)
        x = kind(*(["relu"] if name == "net" else []), name="own")(x)
        keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x))).save(folder / f"{name}.keras")


@dataclass
class Run:
    """A command line that has been started in a session of its own."""

    process: subprocess.Popen
    folder: Path

    def reached(self) -> int:
        """Wait until the worker is where the test wants it; its number."""
        place = self.folder / "reached"
        wait_for(lambda: place.exists() or self.process.poll() is not None)
        assert place.exists(), self.process.communicate()
        return int(place.read_text())

    def send(self, number: int, group: bool = False) -> None:
        """To the process that was started, or as a terminal does."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def end(self) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) once all of its processes have closed them."""
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.returncode, out, err


def wait_for(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "stuck"
        time.sleep(0.02)


def is_gone(number: int) -> bool:
    """Whether a process has ended; its parent may not have read its exit code yet."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return not _exists(number)
    return state == "Z"


def _exists(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def start(folder: Path, *argv, command=("-m", "octconvert"), **more) -> Run:
    """In ``folder``, with a directory of its own for temporary files beside it."""
    scratch = folder.with_name(f"{folder.name}-tmp")
    scratch.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if name not in environment.DEFAULTS}
    env = {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "TMPDIR": str(scratch), **more.pop("env", {})}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    arguments = [sys.executable, *command, *map(str, argv)]
    return Run(subprocess.Popen(arguments, cwd=folder, env=env, text=True, start_new_session=True, **pipes), folder)


def left_behind(folder: Path) -> list[str]:
    """What is in the directory for temporary files, and hidden beside the target."""
    scratch = folder.with_name(f"{folder.name}-tmp")
    return sorted(item.name for item in (*scratch.iterdir(), *folder.glob(".*")))
