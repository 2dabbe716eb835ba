"""The channel split that is read from maps is the one that they were made with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octconvert.octave.matching import matched_mask, octave_between


@given(st.lists(st.booleans(), min_size=1, max_size=24), st.floats(0, 0.3))
@settings(deadline=None, max_examples=50)
def test_the_mask_is_read_from_noisy_maps(mask, noise):
    mask, rng = np.array(mask), np.random.default_rng(0)
    source = rng.normal(size=(200, len(mask)))
    noisy = source + noise * rng.normal(size=source.shape)
    assert np.array_equal(matched_mask(source, noisy[:, ~mask], noisy[:, mask]), mask)


def test_channels_that_are_alike_keep_their_order():
    source = np.tile(np.arange(5.0)[:, None], 4)
    mask = matched_mask(source, source[:, :3], source[:, :1])
    assert mask.sum() == 1


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(ValueError, match=r"2 \+ 1 channels are not 4"):
        matched_mask(np.zeros((3, 4)), np.zeros((3, 2)), np.zeros((3, 1)))


@pytest.mark.parametrize(
    "size, low, octave",
    [
        ((28, 28), (14, 14), (2, 2)),
        ((15, 16), (8, 4), (2, 4)),
        ((8, 7, 7), (8, 4, 4), (1, 2, 2)),
        ((1, 9), (1, 9), (1, 1)),
        ((28, 28), (15, 14), None),
        ((14,), (28,), None),
    ],
)
def test_the_octave_follows_from_the_sizes(size, low, octave):
    assert octave_between(size, low) == octave
