"""What every test shares: a quiet TensorFlow and the same random numbers in every run."""

import functools
import gc
import signal

from octconvert.system import environment

# In the background of a shell tests ignore SIGINT, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
environment.set_defaults()  # as the command line: TensorFlow runs channels_first on every processor then

import keras  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.python.eager import context  # noqa: E402

SEED = 7
MISSING = pytest.StashKey[dict[str, set]]()
"""Cases that `quick` names and that do not exist, by test."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Of a test with the mark `quick`, the cases that it does not name are long."""
    missing: dict[str, set] = {}
    for item in items:
        mark = item.get_closest_marker("quick")
        if mark is not None:
            case = item.callspec.id
            missing.setdefault(item.nodeid.partition("[")[0], set(mark.args)).discard(case)
            if case not in mark.args:
                item.add_marker("long")
    whole_files = not any("::" in argument for argument in config.args)
    config.stash[MISSING] = {name: cases for name, cases in missing.items() if cases and whole_files}


def pytest_collection_finish():
    """What the imports have made stays; the garbage collector need not go through it again and again."""
    gc.collect()
    gc.freeze()


@functools.cache
def seeded_state() -> tuple:
    """Of TensorFlow's own generator, where nothing has been drawn from it."""
    keras.utils.set_random_seed(SEED)
    return state_of_tensorflow()


def state_of_tensorflow() -> tuple:
    generator = context.context()._rng
    return context.global_seed(), generator and generator.getstate()


@pytest.fixture(autouse=True)
def seeded():
    """TensorFlow only where the test before has used its generator: to seed it drops all kernels that it has prepared,
    and to prepare them again takes a fifth of the whole time."""
    with pytest.MonkeyPatch.context() as patch:
        if seeded_state() == state_of_tensorflow():
            patch.setattr(tf.random, "set_seed", lambda seed: None)
        keras.utils.set_random_seed(SEED)


@pytest.fixture
def missing_quick_cases(request):
    return request.config.stash[MISSING]


@pytest.fixture
def command(capsys, monkeypatch):
    """Run the command line in this process: (exit code, stdout, stderr). However slow it is, it prints no progress."""
    from octconvert import cli
    from octconvert.cli import progress

    monkeypatch.setattr(progress, "INTERVAL", float("inf"))

    def call(*argv):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(item) for item in argv])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call
