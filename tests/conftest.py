"""What every test shares: a quiet TensorFlow and the same random numbers in every run."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest


def pytest_collection_finish():
    """What the imports have made stays; the garbage collector need not go through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(7)


@pytest.fixture
def command(capsys):
    """Run the command line in this process: (exit code, stdout, stderr)."""
    from octconvert import cli

    def call(*argv):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(item) for item in argv])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call
