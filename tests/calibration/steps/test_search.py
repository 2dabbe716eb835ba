"""How many proposals are tried: the calibration behind the search needs time as well."""

from types import SimpleNamespace
from typing import Any, cast

import calibration_nets as nets
import pytest

from octconvert.calibration.effort import Budget, OutOfTime
from octconvert.calibration.proposals import Proposal
from octconvert.calibration.steps import search

WAYS = tuple(Proposal(name, (alpha,)) for name, alpha in (("a", 0.1), ("b", 0.2), ("c", 0.3), ("d", 0.4)))
DISTANCES = {"a": 0.4, "b": 0.3, "c": 0.2, "d": 0.1}


def tried(monkeypatch, seconds, ways=WAYS, short=()):
    """(the proposal that is taken, names of those that were tried); each takes ``seconds`` of 100."""
    budget, names = Budget(100.0 / 0.9), list[str]()
    budget.lay_out(1e-3, 0.0)

    def trial(run, even, damages, way, count, pace):
        names.append(way.name)
        if way.name in short:
            raise OutOfTime
        budget.spend_seconds(seconds)
        return SimpleNamespace(outputs=DISTANCES[way.name])

    monkeypatch.setattr(search, "_trial", trial)
    supply = SimpleNamespace(fit=nets.samples(nets.images(64, size=8)))
    run = SimpleNamespace(budget=budget, supply=supply, expected=SimpleNamespace(distance=lambda outputs: outputs))
    best = search.nearest(cast(Any, run), cast(Any, None), cast(Any, None), ways, budget.pace())
    return best.name, "".join(names)


@pytest.mark.parametrize("seconds, names", [(2.0, "abcd"), (8.0, "abc"), (12.0, "ab"), (20.0, "a")])
def test_trials_leave_three_quarters_of_the_time(monkeypatch, seconds, names):
    assert tried(monkeypatch, seconds) == (names[-1], names)


def test_without_time_for_all_that_are_tried_the_first_is_taken(monkeypatch):
    assert tried(monkeypatch, 2.0, short="c") == ("a", "abc")


def test_a_single_proposal_needs_no_trial(monkeypatch):
    assert tried(monkeypatch, 2.0, WAYS[:1]) == ("a", "")
