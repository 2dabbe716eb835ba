"""What every test shares: a quiet TensorFlow and the same random numbers in every run."""

import gc

from octconvert.system import environment

environment.set_defaults()  # as the command line: TensorFlow runs channels_first on every processor then

import keras  # noqa: E402
import pytest  # noqa: E402


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
