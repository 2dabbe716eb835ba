"""Which groups should be pairs, from the times of the units."""

import itertools

import numpy as np
import pytest

from octconvert.latency.groups import PartTimes, fastest_groups


def chain(seconds):
    """Convolutions one behind another: (plain, first), (last, both) of each; group i lies between i and i + 1."""
    count = len(seconds)
    groups = np.eye(count - 1)
    nothing = np.zeros((1, count - 1))
    inputs, outputs = np.concatenate([nothing, groups]), np.concatenate([groups, nothing])
    return PartTimes(inputs, outputs, np.array(seconds, dtype=float).transpose(1, 2, 0))


def unit(plain, first, last, both):
    return [[plain, first], [last, both]]


def test_the_total_is_the_sum_of_the_units_in_their_states():
    costs = chain([unit(1, 2, 0, 0), unit(10, 20, 30, 40), unit(100, 0, 200, 0)])
    pairs = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=float)
    assert costs.total(pairs).tolist() == [111, 132, 221, 242]


def test_an_input_that_is_a_pair_in_part_lies_in_between():
    costs = PartTimes(np.array([[0.25, 0.75]]), np.zeros((1, 2)), np.array([[[8.0], [8.0]], [[4.0], [4.0]]]))
    pairs = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=float)
    assert costs.total(pairs).tolist() == [8, 7, 5, 4]


def test_a_group_that_costs_more_as_a_pair_stays_plain():
    slow, fast = unit(1, 3, 3, 3), unit(1, 0.6, 0.6, 0.4)
    assert fastest_groups(chain([slow, slow, fast, fast, fast])).tolist() == [False, False, True, True]


def test_groups_that_gain_only_together_are_found():
    """Entering and leaving cost more than they save, each step between saves a little."""
    between = [unit(1, 1.3, 1.3, 0.5)] * 5
    costs = chain([unit(1, 1.3, 1, 1), *between, unit(1, 1, 1.3, 1)])
    assert all(costs.total(np.eye(6)[i]) > costs.total(np.zeros(6)) for i in range(6))
    assert fastest_groups(costs).all()


def test_nothing_is_chosen_where_nothing_gains():
    assert not fastest_groups(chain([unit(1, 2, 2, 3)] * 6)).any()


@pytest.mark.parametrize("seed", range(20))
def test_chains_are_solved_as_well_as_by_trying_everything(seed):
    rng = np.random.default_rng(seed)
    costs = chain(rng.uniform(0.5, 1.5, (7, 2, 2)))
    every = np.array(list(itertools.product((0.0, 1.0), repeat=6)))
    found = float(costs.total(fastest_groups(costs).astype(float)))
    best, middle = float(costs.total(every).min()), float(np.median(costs.total(every)))
    assert found - best <= 0.1 * (middle - best)
