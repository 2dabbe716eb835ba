"""``target_time``: alphas by the times of parts, corrected by the time of the whole model."""

import keras
import numpy as np
import pytest
from keras import layers
from oracle import randomise

import octconvert
from octconvert.benchmarking.compare import Subject
from octconvert.costs.cost import cost_of
from octconvert.errors import UsageError
from octconvert.latency import stopwatch, target
from octconvert.latency.groups import PartTimes
from octconvert.latency.target import TimeCosts
from octconvert.results.bench import BenchRow


def costs(seconds, source=10.0):
    """Two convolutions behind one another; the group lies between. ``seconds``: [input][output] of each."""
    times = np.array(seconds, dtype=float).transpose(1, 2, 0)
    return TimeCosts(PartTimes(np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]]), times), source, "the time", 0.25)


FIRST = [[4.0, 5.0, 2.0], [4.0, 5.0, 2.0], [4.0, 5.0, 2.0]]
LAST = [[4.0, 4.0, 4.0], [4.5, 4.5, 4.5], [1.0, 1.0, 1.0]]


def share(measured, alpha):
    return measured.share(np.array([alpha]))


def test_measured_levels_are_what_was_measured():
    """Of 10 s two lie outside of the parts."""
    measured = costs([FIRST, LAST])
    assert [share(measured, alpha) for alpha in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 1.15, 0.5])


def test_other_pairs_cost_by_their_macs():
    """A quarter of the channels less saves 3/4 of a quarter of the work at each end."""
    measured = costs([FIRST, LAST])
    difference = share(measured, 0.25) - share(measured, 0.5)
    assert difference == pytest.approx(2 * 4.0 * 0.75 * 0.25 / 10)


def test_parts_that_take_longer_alone_than_in_the_model_are_scaled():
    measured = costs([FIRST, LAST], source=4.0)
    assert share(measured, 0.0) == pytest.approx(1.0) and share(measured, 1.0) == pytest.approx(3 / 8)


def test_measured_models_correct_the_estimates_of_their_kind():
    """Of 10 s the pairs took 5.75 s, measured as twice as many; whole-low parts stay as estimated."""
    measured = costs([FIRST, LAST])
    fitted = measured.fitted([(np.array([0.5]), share(measured, 0.5) + 0.95)])
    assert share(fitted, 0.5) == pytest.approx(2.1, abs=0.01)
    assert [share(fitted, alpha) for alpha in (0.0, 1.0)] == pytest.approx([1.0, 0.5])
    both = measured.fitted([(np.array([0.5]), 1.0), (np.array([1.0]), 0.6)])
    assert [share(both, alpha) for alpha in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 1.0, 0.6], abs=0.01)


def stages(blocks=1):
    image = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    for number in range(blocks):
        y = layers.Conv2D(8, 3, padding="same", activation="relu", name=f"inner{number}")(x)
        x = layers.ReLU()(layers.Add()([x, layers.Conv2D(8, 3, padding="same", name=f"outer{number}")(y)]))
    x = layers.GlobalAveragePooling2D()(x)
    return randomise(keras.Model(image, layers.Dense(4, name="head")(x), name="stages"))


@pytest.fixture
def clock(monkeypatch):
    """Made-up times: of parts, and of whole models by their MACs, of which ``saved`` is saved time."""

    def set_clock(seconds, saved=1.0):
        def measure(self, models):
            times = {key: seconds(model) for key, model in models.items()}
            self._known.add(times)
            return times

        def compare(subjects: list[Subject], settings, batch, progress):
            macs = [cost_of(subject.model).macs for subject in subjects]
            times = [1 - saved * (1 - each / full) for each in macs]
            return tuple(
                BenchRow(s.name, settings.runtimes[0], 0, median=1000.0 * time)
                for s, time in zip(subjects, times, strict=True)
            ), ()

        full = cost_of(stages()).macs
        monkeypatch.setattr(stopwatch.Stopwatch, "measure", measure)
        monkeypatch.setattr(target, "compare", compare)

    return set_clock


def by_macs(model):
    return cost_of(model).macs / 1e6


QUICK = {"calibration_budget": 30.0, "calibration_steps": ("select", "solve"), "min_size": 1}


@pytest.mark.long
def test_reaches_the_share_of_the_time(clock):
    clock(by_macs)
    source = stages()
    result = octconvert.convert(source, target_time=0.6, **QUICK)
    assert 0.55 < result.report.after.macs / result.report.before.macs < 0.65
    step = next(step for step in result.report.calibration.steps if step.name == "search")
    assert "of the source's time on tf, measured" in step.detail


@pytest.mark.long
def test_the_choice_is_corrected_by_the_whole_model(clock):
    """Half of the saved MACs are saved time."""
    clock(by_macs, saved=0.5)
    result = octconvert.convert(stages(), target_time=0.8, **QUICK)
    assert 0.5 < result.report.after.macs / result.report.before.macs < 0.68


@pytest.mark.long
def test_where_pairs_cost_more_than_they_save_tensors_are_plain_or_whole_low(clock):
    def seconds(model):
        ends = len(model.inputs) + len(model.outputs)
        return by_macs(model) * (3.0 if ends > 2 else 1.0)

    clock(seconds)
    result = octconvert.plan(stages(), target_time=0.7, calibration_budget=30.0, min_size=1)
    assert {group.alpha for group in result.groups} <= {0.0, 1.0}


@pytest.mark.long
def test_out_of_reach(clock):
    clock(by_macs, saved=0.5)
    with pytest.raises(UsageError, match=r"target_time 0.3 is out of reach: 0\.\d\d of the source's time on tf"):
        octconvert.convert(stages(), target_time=0.3, **QUICK)


@pytest.mark.long
def test_what_is_out_of_reach_by_the_estimates_alone_is_timed(clock):
    """A fifth more is saved than the MACs say, and no fewer than 0.27 of them can be left."""
    clock(by_macs, saved=1.2)
    source = stages()
    plan = octconvert.plan(source, target_time=0.2, calibration_budget=30.0, min_size=1)
    converted = octconvert.convert(source, plan=plan, calibration=False)
    assert 1 - 1.2 * (1 - converted.after.macs / converted.before.macs) == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"target_macs": 0.5}, "`target_macs` can not be combined with `target_time`"),
        ({"alpha": 0.25}, "`alpha` can not be combined with `target_time`"),
        ({"calibration": False}, "`target_time` can not be combined with `calibration=False`"),
        ({"objective": "latency"}, "`target_time` can not be combined with `objective='latency'`"),
        ({"quantize": "int8"}, "`quantize` needs a `runtime`"),
        ({"quantize": "int8", "runtime": "tf"}, "tf can not be exported with `quantize='int8'`"),
        ({"quantize": "int4", "runtime": "litert"}, "`quantize` must be one of int8, float16, dynamic"),
    ],
)
def test_contradictions(options, message):
    with pytest.raises(UsageError) as error:
        octconvert.convert(stages(), target_time=0.5, **options)
    assert message in str(error.value)


def test_open_sizes_have_no_time():
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, padding="same")(layers.Conv2D(8, 3, padding="same")(image))
    with pytest.raises(UsageError, match="leaves its input size open: give `input_shape`"):
        octconvert.convert(keras.Model(image, x), target_time=0.6)


@pytest.mark.long
@pytest.mark.parametrize("requested", [0.85, 0.65])
def test_estimates_that_are_too_high_lead_to_no_lower_time_than_requested(monkeypatch, requested):
    """By them only whole models pay: another share is asked for until the measured one is near."""
    image = keras.Input((16, 16, 3))
    x = image
    for _ in range(5):
        x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    source = randomise(keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x))))
    full = cost_of(source).macs

    def measure(self, models):
        times = {
            key: by_macs(model) * (1.3 if len(model.inputs) + len(model.outputs) > 2 else 1)
            for key, model in models.items()
        }
        self._known.add(times)
        return times

    def compare(subjects, settings, batch, progress):
        shares = [cost_of(subject.model).macs / full for subject in subjects]
        rows = (
            BenchRow(s.name, "tf", 0, median=1000.0 * share**1.2) for s, share in zip(subjects, shares, strict=True)
        )
        return tuple(rows), ()

    monkeypatch.setattr(stopwatch.Stopwatch, "measure", measure)
    monkeypatch.setattr(target, "compare", compare)
    plan = octconvert.plan(source, target_time=requested, calibration_budget=300.0, min_size=1)
    converted = octconvert.convert(source, plan=plan, calibration=False)
    assert (converted.after.macs / full) ** 1.2 == pytest.approx(requested, abs=0.05)
