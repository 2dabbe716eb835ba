"""Low-map geometry against the double loop of the fold formula and against brute force on numbers."""

import math

import numpy as np
import pytest

from octconvert.octave.geometry import align, ceil_div, fold_matrix, output_size, same_padding


def folded_taps(kernel, stride, before, octave, dilation=1):
    """Cell offset -> coefficients of the source taps: the formula as it is written down."""
    taps = {}
    for phase in range(octave):
        for d in range(kernel):
            cell = math.floor((stride * phase + d * dilation - before) / octave)
            taps.setdefault(cell, np.zeros(kernel))[d] += 1 / octave
    return taps


def cells_read(alignment):
    """Cell offset -> coefficients of the source taps, as an `Alignment` describes them."""
    taps = {}
    for tap in range(alignment.kernel):
        for shift, weight in enumerate(alignment.prefilter):
            cell = alignment.start + alignment.prefilter_start + tap * alignment.dilation + shift
            taps[cell] = taps.get(cell, 0) + weight * alignment.matrix[tap]
    return taps


def assert_same_taps(actual, expected, kernel):
    for cell in set(actual) | set(expected):
        nothing = np.zeros(kernel)
        np.testing.assert_allclose(actual.get(cell, nothing), expected.get(cell, nothing), atol=1e-9)


@pytest.mark.parametrize("octave", [1, 2, 4, 8])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("kernel", range(1, 8))
def test_alignment_is_the_fold_formula(kernel, stride, octave):
    for before in range(kernel // 2 + 2):
        alignment = align(kernel, stride, 1, before, octave)
        assert_same_taps(cells_read(alignment), folded_taps(kernel, stride, before, octave), kernel)


@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_dilation_by_a_multiple_of_octave_is_the_fold_formula(kernel, octave):
    for before in (0, octave):
        for dilation in (octave, 2 * octave):
            alignment = align(kernel, 1, dilation, before, octave)
            assert alignment.dilation == dilation // octave
            assert_same_taps(cells_read(alignment), folded_taps(kernel, 1, before, octave, dilation), kernel)


@pytest.mark.parametrize("dilation", [2, 3, 5])
@pytest.mark.parametrize("kernel", [2, 3, 5, 7])
@pytest.mark.parametrize("octave", [2, 4, 8])
def test_dilated_window_stays_centred_and_loses_no_weight(octave, kernel, dilation):
    """Where the taps do not fall on cells, the window is at most one cell off and every tap keeps its weight."""
    for before in range((kernel - 1) * dilation // 2 + 1):
        alignment = align(kernel, 1, dilation, before, octave)
        np.testing.assert_allclose(alignment.matrix.sum(axis=0), np.ones(kernel))
        wanted = ((kernel - 1) * dilation / 2 - before) / octave
        middle = alignment.start + (kernel - 1) * alignment.dilation / 2
        assert abs(middle - wanted) <= 1.0


@pytest.mark.parametrize("kernel", [1, 3, 4])
def test_octave_1_changes_nothing(kernel):
    for stride, dilation, before in [(1, 1, 0), (1, 1, 2), (2, 1, 1), (3, 1, 0), (1, 2, 3)]:
        alignment = align(kernel, stride, dilation, before, 1)
        np.testing.assert_array_equal(alignment.matrix, np.eye(kernel))
        assert alignment.prefilter == (1.0,)
        assert (alignment.start, alignment.first) == (-before, -before)
        assert alignment.dilation == dilation or kernel == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1, 1, 0, 2), [[1.0]]),
        ((3, 1, 1, 2), [[0.5, 0, 0], [0.5, 1, 0.5], [0, 0, 0.5]]),
        ((3, 2, 0, 2), [[0.5, 0.5, 0], [0.5, 0.5, 0.5], [0, 0, 0.5]]),
        ((3, 2, 1, 2), [[0.5, 0, 0], [0.5, 0.5, 0.5], [0, 0.5, 0.5]]),
        ((2, 1, 0, 2), [[1, 0.5], [0, 0.5]]),
        ((3, 1, 1, 4), [[0.25, 0, 0], [0.75, 1, 0.75], [0, 0, 0.25]]),
        ((5, 1, 2, 2), [[0] * 5, [1, 0.5, 0, 0, 0], [0, 0.5, 1, 0.5, 0], [0, 0, 0, 0.5, 1], [0] * 5]),
    ],
)
def test_fold_matrix_by_hand(arguments, expected):
    np.testing.assert_allclose(fold_matrix(*arguments), expected)


def test_kernel_sizes_never_grow():
    """3 -> 3, 5 -> 3 and 7 -> 5 taps that are not zero."""
    used = [int((fold_matrix(k, 1, k // 2, 2).sum(axis=1) > 0).sum()) for k in (3, 5, 7)]
    assert used == [3, 3, 5]


def test_strided_1x1_is_pool_then_1x1():
    alignment = align(1, 2, 1, 0, 2)
    assert (alignment.prefilter, alignment.first, alignment.span) == ((0.5, 0.5), 0, 2)
    np.testing.assert_allclose(alignment.matrix, [[1.0]])


@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_padding_makes_the_window_fit(kernel, stride, octave):
    for size in (16, 17, 22):
        for before in range(kernel // 2 + 1):
            outputs = ceil_div((size + 2 * before - kernel) // stride + 1, octave)
            cells = ceil_div(size, octave)
            alignment = align(kernel, stride, 1, before, octave)
            front, back = alignment.padding(cells, outputs)
            assert front == -alignment.first
            assert cells + front + back - alignment.span == stride * (outputs - 1)


@pytest.mark.parametrize("octave", [2, 4])
@pytest.mark.parametrize(("kernel", "stride", "before"), [(3, 1, 1), (3, 2, 0), (5, 2, 1), (1, 2, 0), (7, 2, 3)])
def test_folded_taps_reproduce_pooled_convolution(kernel, stride, before, octave):
    """One axis, in numbers: pool(conv(upsample(low))) is the folded window on low, wherever no zero is read."""
    generator = np.random.default_rng(1)
    low, taps = generator.normal(size=12), generator.normal(size=kernel)
    source = np.repeat(low, octave)
    window = align(kernel, stride, 1, before, octave)
    folded = window.matrix @ taps
    checked = 0
    for cell in range(12):
        starts = [stride * (octave * cell + phase) - before for phase in range(octave)]
        if starts[0] < 0 or starts[-1] + kernel > len(source):
            continue
        expected = np.mean([source[start : start + kernel] @ taps for start in starts])
        actual = 0.0
        for tap in range(kernel):
            for shift, weight in enumerate(window.prefilter):
                coefficient = folded[tap] * weight
                if coefficient:
                    actual += coefficient * low[stride * cell + window.first + tap + shift]
        assert actual == pytest.approx(expected, abs=1e-12)
        checked += 1
    assert checked >= 3


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 7])
def test_same_padding_and_output_size(kernel, stride):
    for size in range(1, 13):
        before, after = same_padding(size, kernel, stride)
        outputs = -(-size // stride)
        assert output_size(size, kernel, stride, 1, "same") == outputs
        assert 0 <= after - before <= 1
        covered = (outputs - 1) * stride + kernel
        assert before + after == max(covered - size, 0)
        if size >= kernel:
            assert output_size(size, kernel, stride, 1, "valid") == len(range(0, size - kernel + 1, stride))
        padded = range(-2, size + 1 - kernel + 1, stride)
        if len(padded):
            assert output_size(size, kernel, stride, 1, (2, 1)) == len(padded)


def test_output_size_with_dilation():
    assert output_size(11, 3, 1, 2, "valid") == 7
    assert output_size(11, 3, 1, 2, (2, 2)) == 11
    assert same_padding(11, 3, 1, 2) == (2, 2)
