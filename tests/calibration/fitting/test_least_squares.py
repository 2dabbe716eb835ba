import numpy as np
import pytest

from octconvert.calibration.fitting.least_squares import FewRows, NormalEquations


def problem(rng, count, blocks=1, features=6, outputs=3, noise=0.0):
    """(known weights, rows, targets)."""
    weights = rng.standard_normal((blocks, features, outputs))
    rows = rng.standard_normal((blocks, count, features)).astype("float32")
    targets = rows @ weights + noise * rng.standard_normal((blocks, count, outputs))
    return weights, rows, targets.astype("float32")


def equations(rows, targets, batches=4):
    found = NormalEquations(len(rows), rows.shape[-1], targets.shape[-1])
    for i, part in enumerate(np.array_split(np.arange(rows.shape[1]), batches)):
        found.add(rows[:, part], targets[:, part], int(i == batches - 1))
    return found


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("blocks", [1, 5])
def test_finds_known_weights(rng, blocks):
    weights, rows, targets = problem(rng, 4_000, blocks)
    solution = equations(rows, targets).solve([np.zeros_like(weights)])
    assert solution.changed
    assert np.abs(solution.weights - weights).max() < 1e-3
    assert solution.before > 0.5 and solution.after < 1e-6


def test_every_block_has_its_own_rows(rng):
    weights, rows, targets = problem(rng, 2_000, 2)
    targets[1] = 0.0
    found = equations(rows, targets).solve([np.zeros_like(weights)]).weights
    assert np.abs(found[0] - weights[0]).max() < 1e-3 and np.abs(found[1]).max() < 1e-3


def test_few_rows_give_what_is_near_the_prior(rng):
    weights, rows, targets = problem(rng, 16, features=40, noise=0.5)
    prior = weights + 0.02 * rng.standard_normal(weights.shape)
    solution = equations(rows, targets).solve([prior])
    free = np.linalg.lstsq(rows[0].astype("float64"), targets[0], rcond=None)[0]
    assert np.abs(solution.weights - weights).max() < 0.2 * np.abs(free - weights).max()


def test_never_worse_than_before_on_the_second_fold(rng):
    for trial in range(30):
        noise = 10.0 ** rng.uniform(-2, 1)
        weights, rows, targets = problem(rng, int(rng.integers(4, 80)), noise=noise)
        prior = weights + 10.0 ** rng.uniform(-3, 1) * rng.standard_normal(weights.shape)
        found = equations(rows, targets)
        solution = found.solve([prior])
        assert found.error(solution.weights, 1).sum() <= found.error(prior, 1).sum() * (1 + 1e-9), trial
        assert solution.after <= solution.before


def test_right_weights_stay(rng):
    _, rows, targets = problem(rng, 50, noise=1.0)
    found = equations(rows, targets)
    best = np.linalg.lstsq(rows[0, 38:].astype("float64"), targets[0, 38:], rcond=None)[0][None]  # for the second fold
    solution = found.solve([best])
    assert not solution.changed and np.array_equal(solution.weights, best)


def test_the_better_of_two_priors_is_pulled_to(rng):
    weights, rows, targets = problem(rng, 12, features=60)
    bad = rng.standard_normal(weights.shape)
    solution = equations(rows, targets).solve([bad, weights])
    assert solution.changed
    assert np.allclose(solution.weights, weights, atol=1e-3)


def test_error_and_variance_are_those_of_the_rows(rng):
    weights, rows, targets = problem(rng, 400, 2, noise=0.3)
    found, other = equations(rows, targets), weights + 0.1
    for fold, part in ((0, slice(300)), (1, slice(300, None))):
        squares = np.square(rows[:, part].astype("float64") @ other - targets[:, part]).sum(axis=1)
        assert np.allclose(found.error(other, fold), squares, rtol=1e-4)
        deviations = np.square(targets[:, part] - targets[:, part].mean(axis=1, keepdims=True)).sum()
        assert np.isclose(found.variance(fold), deviations, rtol=1e-4)


def test_no_number_changes_nothing(rng):
    weights, rows, targets = problem(rng, 100)
    targets[0, 3, 1] = np.nan
    solution = equations(rows, targets).solve([weights])
    assert not solution.changed and np.array_equal(solution.weights, weights)


def test_one_fold_alone_or_nothing_at_all_changes_nothing(rng):
    weights, rows, targets = problem(rng, 100)
    for found in (equations(rows, targets, batches=1), NormalEquations(1, 6, 3)):
        solution = found.solve([weights + 1])
        assert not solution.changed and np.array_equal(solution.weights, weights + 1)


def test_features_that_are_always_zero_keep_their_weights(rng):
    weights, rows, targets = problem(rng, 1_000)
    rows[..., 2] = 0.0
    targets = (rows @ weights).astype("float32")
    found = equations(rows, targets).solve([weights + 0.5]).weights
    assert np.allclose(found[:, 2], weights[:, 2] + 0.5)
    assert np.allclose(np.delete(found, 2, 1), np.delete(weights, 2, 1), atol=1e-3)
    nothing = equations(np.zeros_like(rows), np.zeros_like(targets)).solve([weights])
    assert np.array_equal(nothing.weights, weights)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_few_rows_have_the_solution_of_their_sums(rng, noise):
    weights, rows, targets = problem(rng, 20, blocks=2, features=30, noise=noise)
    prior = weights + 0.2 * rng.standard_normal(weights.shape)
    few, sums = FewRows(2, 30, 3), NormalEquations(2, 30, 3)
    for part, fold in ((slice(0, 12), 0), (slice(12, 20), 1)):
        assert few.add(rows[:, part], targets[:, part], fold) is few
        sums.add(rows[:, part], targets[:, part], fold)
    first, second = few.solve([prior]), sums.solve([prior])
    assert first.changed and first.ridge == second.ridge
    assert np.allclose(first.weights, second.weights, atol=1e-4)
    assert first.before == pytest.approx(second.before, rel=1e-4) and first.after == pytest.approx(
        second.after, rel=1e-3
    )


def test_many_rows_are_summed(rng):
    weights, rows, targets = problem(rng, 400, features=30)
    growing, sums = FewRows(1, 30, 3), NormalEquations(1, 30, 3)
    for number, part in enumerate(np.array_split(np.arange(400), 40)):
        growing = growing.add(rows[:, part], targets[:, part], number % 2)
        sums.add(rows[:, part], targets[:, part], number % 2)
    assert isinstance(growing, NormalEquations)
    assert growing.count.tolist() == sums.count.tolist() and np.allclose(growing.gram, sums.gram, atol=1e-3)
    assert np.abs(growing.solve([np.zeros_like(weights)]).weights - weights).max() < 1e-3


def test_few_rows_with_one_that_is_not_finite_change_nothing(rng):
    weights, rows, targets = problem(rng, 10, features=30)
    rows[0, 0, 0] = np.nan
    solution = (
        FewRows(1, 30, 3).add(rows[:, :5], targets[:, :5], 0).add(rows[:, 5:], targets[:, 5:], 1).solve([weights])
    )
    assert not solution.changed
