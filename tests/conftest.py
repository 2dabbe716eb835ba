"""What every test shares: a quiet TensorFlow and the same random numbers in every run."""

import gc

from octconvert.system import environment

environment.set_defaults()  # as the command line: TensorFlow runs channels_first on every processor then

import keras  # noqa: E402
import pytest  # noqa: E402


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
    wrong = {name: sorted(cases) for name, cases in missing.items() if cases}
    if wrong and not any("::" in argument for argument in config.args):  # whole files were collected
        raise pytest.UsageError(f"@pytest.mark.quick names cases that do not exist: {wrong}")


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
