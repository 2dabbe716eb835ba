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
