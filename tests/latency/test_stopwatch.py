"""Times are measured once, and kept."""

import keras
import pytest
from keras import layers

from octconvert.benchmarking.process import WorkerError
from octconvert.latency import stopwatch
from octconvert.latency.stopwatch import Stopwatch, Times


def net(size, filters):
    image = keras.Input((size, size, 3))
    return keras.Model(image, layers.Conv2D(filters, 3)(image))


@pytest.mark.long
def test_every_model_is_measured_and_known_from_then_on():
    with Stopwatch("tf", threads=1, batch=1) as watch:
        found = watch.measure({"small": net(8, 4), "large": net(32, 8)})
        assert set(found) == {"small", "large"} and all(seconds > 0 for seconds in found.values())
        assert watch.known("small") == found["small"] and watch.known("other") is None
        assert watch.known("empty (1, 1)") > 0


def test_what_any_call_takes_does_not_count():
    assert stopwatch.without_call(1.0, 0.25) == 0.75
    assert stopwatch.without_call(1.0, 1.0) == stopwatch.without_call(1.0, 2.0) == stopwatch.LEAST_SHARE


@pytest.mark.long
def test_times_are_found_again_by_the_next_one_in_the_same_circumstances(monkeypatch):
    with Stopwatch("tf", threads=1, batch=1) as watch:
        found = watch.measure({"small": net(8, 4)})
    with Stopwatch("tf", threads=1, batch=1) as again, Stopwatch("tf", threads=2, batch=1) as other:
        assert again.known("small") == found["small"]
        assert other.known("small") is None


@pytest.mark.long
def test_what_can_not_be_exported_or_run_is_left_out(monkeypatch):
    image = keras.Input((4, 4, 1))
    open_size = keras.Input((None, None, 1))
    models = {
        "open": keras.Model(open_size, layers.ReLU()(open_size)),
        "small": keras.Model(image, layers.ReLU()(image)),
    }
    with Stopwatch("tf", threads=1, batch=1) as watch:
        assert set(watch.measure(models)) == {"small"}

    class Broken:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def open(self, *_, **__):
            pass

        def run(self, *_, **__):
            raise WorkerError("no")

    monkeypatch.setattr(stopwatch, "Worker", Broken)
    with Stopwatch("tf", threads=1, batch=1) as watch:
        assert watch.measure({"small": net(8, 4)}) == {}


@pytest.mark.parametrize("text", ["", "no json", "[1, 2]", '{"a": "long"}'])
def test_a_spoilt_cache_is_an_empty_one(cache, text):
    times = Times("here")
    times.add({"a": 1.0})
    times.keep()
    (kept,) = cache.rglob("latency.json")
    kept.write_text(text)
    assert Times("here").get("a") is None
    times.add({"b": 2.0})
    times.keep()
    assert Times("here").get("b") == 2.0


def test_what_another_process_has_written_meanwhile_stays(cache):
    first, second = Times("here"), Times("here")
    first.add({"a": 1.0})
    second.add({"b": 2.0})
    first.keep()
    second.keep()
    assert (Times("here").get("a"), Times("here").get("b")) == (1.0, 2.0)
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["latency.json"]


def test_a_cache_that_can_not_be_written_is_done_without(cache):
    cache.write_text("a file is in the way")
    times = Times("here")
    times.add({"a": 1.0})
    times.keep()
    assert times.get("a") == 1.0 and cache.read_text() == "a file is in the way"
