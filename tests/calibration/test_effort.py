"""A calibration ends in time, whatever a unit of its work takes: the clock is one that the tests move on."""

import subprocess
import sys
import time

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers
from oracle import randomise

from octconvert.calibration import calibrate, refinement
from octconvert.calibration.data.supply import user_supply
from octconvert.calibration.effort import FAR, LAID_OUT, OVERTIME, Budget, Pace
from octconvert.calibration.fitting import sweep
from octconvert.calibration.fitting.sweep import Sweep
from octconvert.calibration.start import BATCH_SHARE
from octconvert.model.graph_reader import build_graph
from octconvert.options.calibration import CalibrationOptions

BUDGET = 20.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sweep, "MOST_ROWS", 2_000)
    monkeypatch.setattr(sweep, "LEAST_ROWS", 2_000)
    monkeypatch.setattr(refinement, "MOST_STEPS", 30)
    monkeypatch.setattr(refinement, "LEAST_STEPS", 30)
    Costly.clock = nets.Clock()


class Costly(layers.Layer):
    """Passes on what it gets; each sample takes ``seconds`` of the clock."""

    clock = nets.Clock()

    def __init__(self, seconds: float, **options):
        super().__init__(**options)
        self.seconds = seconds

    def call(self, inputs):
        if isinstance(inputs, keras.KerasTensor):
            raise TypeError("such a layer is not opened")
        if not hasattr(inputs, "numpy"):
            return inputs  # only what really runs takes time
        Costly.clock.pass_by(self.seconds * len(inputs))
        return inputs

    def compute_output_spec(self, inputs):
        return keras.KerasTensor(inputs.shape, inputs.dtype)

    def get_config(self):
        return {**super().get_config(), "seconds": self.seconds}


def costly(seconds: float):
    """A small net, each of whose runs takes so many seconds for one sample."""
    inputs = keras.Input((16, 16, 3))
    x = nets.conv_bn(Costly(seconds)(inputs), 8)
    y = nets.conv_bn(nets.conv_bn(x, 8), 8, activation=None)
    return randomise(keras.Model(inputs, nets.head(layers.ReLU()(layers.Add()([x, y])))))


def calibrated(model, clock, **settings):
    settings = CalibrationOptions(**{"budget": BUDGET, "clock": clock, **settings})

    return calibrate.calibrate(nets.planned(model), settings, lambda *_: None)


@pytest.mark.long
@pytest.mark.parametrize("seconds, data", [(0.02, 48), (0.4, None), (0.4, 48), (3.0, None), (100.0, 48)])
def test_the_clock_ends_it_whatever_a_sample_takes(seconds, data):
    model, images = costly(seconds), None if data is None else nets.images(data)
    done = calibrated(model, Costly.clock, data=images)
    batch = max(seconds, BATCH_SHARE * BUDGET)  # a unit of work
    assert Costly.clock.now <= OVERTIME * BUDGET + 2 * batch
    assert done.rewritten.model.count_params() == model.count_params()
    if done.report is None:
        assert seconds > 1 and "`calibration_budget`" in done.notes[0]
    else:
        assert done.report.seconds == pytest.approx(Costly.clock.now)
        error = next(each for each in done.report.measures if each.name == "relative error")
        assert error.after <= error.before
        cut = [step for step in done.report.steps if "time was" in step.detail or "were left" in step.detail]
        assert cut or seconds < 0.02
        assert done.report.cut or not [step for step in cut if "time was" in step.detail]
    assert (done.report is None) == (seconds > 1.0)


@pytest.mark.quick("4.0")
@pytest.mark.parametrize("each", [0.3, 4.0])
def test_the_clock_ends_it_whatever_a_unit_of_work_takes(each):
    """Every question to the clock takes time, and every unit of work is one."""
    clock = nets.Clock(each)
    done = calibrated(nets.small(), clock, samples=64)
    assert clock.now <= OVERTIME * BUDGET + 16 * each  # each step asks once or twice to learn that it is left out
    told = {step.name: step.detail for step in done.report.steps} if done.report else {}
    assert not told or each < 4 or "time was over" in told["solve"] + told["select"]


@pytest.mark.long
@pytest.mark.parametrize("options", [dict(target_macs=0.7), dict(max_drop=0.9)])
def test_what_chooses_alphas_ends_as_well(options):
    model = costly(0.05)
    done = calibrated(model, Costly.clock, data=nets.images(48), **options)
    assert Costly.clock.now <= OVERTIME * BUDGET + 3.0
    assert done.report is not None and any(step.name == "search" and step.kept for step in done.report.steps)


@pytest.mark.long
def test_a_budget_that_is_enough_leaves_nothing_out():
    done = calibrated(costly(1e-4), Costly.clock, data=nets.images(48), budget=1e4)
    told = {step.name: step.detail for step in done.report.steps}
    assert not [detail for detail in told.values() if "time was" in detail]
    assert done.report.steps[-1].detail.startswith("30 steps") and done.report.cut == ()


@pytest.mark.long
@pytest.mark.parametrize("options", [dict(data=nets.images(80)), dict(samples=64)], ids=["data", "synthetic"])
def test_another_speed_of_the_machine_changes_no_weight(options):
    """Bit for bit, as long as the clock ends nothing."""
    weights = []
    for each in (0.0, 0.01):  # seconds that every unit of work takes
        keras.utils.set_random_seed(1)
        done = calibrated(nets.small(), nets.Clock(each), budget=1e3, **options)
        assert done.report.cut == () and {"solve", "refine"} <= {step.name for step in done.report.steps}
        weights.append(done.rewritten.model.get_weights())
    assert all(np.array_equal(first, second) for first, second in zip(*weights, strict=True))


@pytest.mark.long
def test_busy_processes_beside_it_change_no_weight():
    """The real clock, and a budget that is enough for that."""
    weights = []
    for busy in (0, 2):
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            keras.utils.set_random_seed(1)
            done = calibrated(nets.small(), time.monotonic, budget=600.0, samples=64)
        finally:
            for other in others:
                other.kill()
                other.wait()
        assert done.report.cut == () and "refine" in {step.name for step in done.report.steps}
        weights.append(done.rewritten.model.get_weights())
    assert all(np.array_equal(first, second) for first, second in zip(*weights, strict=True))


def test_data_that_are_slow_to_read():
    clock = nets.Clock()

    def slow():
        for image in nets.images(200):
            clock.pass_by(0.5)
            yield image

    model, budget = nets.two_convolutions(), Budget(BUDGET, clock)
    supply = user_supply(build_graph(model), CalibrationOptions(data=slow()), pace=budget.pace("samples", 0.5))
    assert 2 <= supply.count + supply.held_out.count < 200
    assert clock.now < OVERTIME * BUDGET
    assert any("reading ended" in note for note in supply.notes) and budget.cut == ("samples",)


@pytest.mark.long
def test_the_sweep_takes_fewer_batches_when_they_are_slow():
    """The first wave is quick, the second one is not: what it can not do in time, nobody does any more."""
    samples, alignment = nets.samples(nets.images(32)), nets.alignment_of(costly(0.0))
    clock = nets.Clock()
    waves = Sweep(alignment, samples, 4, pace=Pace(clock))
    whole = waves.run()
    assert waves.batches == 8 and not waves.unsolved and not waves.pace.cut
    clock = nets.Clock(1.0)
    short = Sweep(nets.alignment_of(costly(0.0)), samples, 4, pace=Pace(clock, until=50.0))
    fits = short.run()
    assert short.pace.cut and clock.now <= 60.0
    assert 2 <= short.batches < 8 and 0 < len(fits) <= len(whole)


def test_items_that_are_taken_in_time():
    clock = nets.Clock()

    def items(each):
        for number in range(10):
            clock.pass_by(each)
            yield number

    pace = Pace(clock, until=11.0)
    taken = []
    for number in pace.units(items(1.0)):
        clock.pass_by(1.0)
        taken.append(number)
    assert taken == [0, 1, 2, 3, 4] and pace.cut  # one more would end with the time
    every = Pace(clock, until=1e9)
    assert list(every.units(items(1.0))) == list(range(10)) and not every.cut
    over = Pace(clock, until=0.0)
    assert list(over.units(range(3), least=2)) == [0, 1] and over.cut
    assert not list(Pace(clock, until=0.0).units(range(3)))


def test_a_budget_is_laid_out_and_ends_by_the_clock():
    clock = nets.Clock()
    budget = Budget(60.0 / LAID_OUT, clock)
    budget.seconds_a_sample = 0.01
    assert budget.samples(0.5, 10) == 300 and budget.samples(0.5, 10, each=0.1) == 150
    budget.spend(300, 10)
    budget.spend_seconds(10.0)
    assert budget.left == pytest.approx(20.0)
    budget.spend(10_000, 10)
    assert budget.left == 0 and budget.samples(1.0, 1) == 0
    clock.pass_by(20.0)
    left = OVERTIME * 60.0 / LAID_OUT - 20.0
    assert budget.elapsed == 20.0 and budget.pace().left == pytest.approx(left)
    assert budget.pace(share=0.5, reserve=40.0).left == pytest.approx((left - 40.0) / 2)
    assert budget.pace(reserve=200.0).left <= 0
    assert np.isinf(Pace().left)


def test_what_the_clock_has_decided_is_recorded():
    clock = nets.Clock()
    budget = Budget(60.0, clock)
    assert not budget.pace("solve").part(0.5).lacks(30.0) and budget.cut == ()
    part = budget.pace("refine").part(0.5)
    assert part.lacks(90.0) and part.cut
    assert budget.pace().lacks(1e6) and budget.cut == ("refine",)  # no stage has this pace


def test_the_work_is_laid_out_by_the_estimate_unless_the_model_is_far_slower():
    """Then by the measured time, rounded: two runs seldom differ by it."""
    clock = nets.Clock()
    fast, slow, slower = (Budget(60.0, clock) for _ in range(3))
    fast.lay_out(0.01, FAR * 0.01)
    slow.lay_out(0.01, 0.09)
    slower.lay_out(0.01, 0.15)
    assert fast.seconds_a_sample == 0.01 and fast.cut == ()
    assert slow.seconds_a_sample == slower.seconds_a_sample == 0.16 and slow.cut == ("samples",)
