"""Keras on JAX: `KERAS_BACKEND=jax pytest tests/backends`; CI runs it so."""

import os
import subprocess
import sys
import warnings

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers
from oracle import assert_oracle, largest_difference, randomise, run

import octconvert
from octconvert.calibration import refinement
from octconvert.errors import UsageError

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras does not run on JAX")


def classifier():
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(8, 1)(x))
    x = layers.MaxPooling2D()(layers.Add()([x, y]))
    x = layers.Conv2DTranspose(8, 3, 2, padding="same", activation="relu")(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    model = keras.Model(image, layers.Dense(5, "softmax")(layers.GlobalAveragePooling2D()(x)))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy())
    return randomise(model)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """(source, conversion with all steps of the calibration, its file)."""
    source, path = classifier(), tmp_path_factory.mktemp("jax") / "octave.keras"
    options = {"calibration": nets.images(160, 16), "calibration_budget": 60.0, "min_size": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refinement, "LEAST_STEPS", 30)
        patch.setattr(refinement, "MOST_STEPS", 30)
        return source, octconvert.convert(source, 0.5, output=path, **options), path


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_octave_1(alpha):
    assert_oracle(classifier(), alpha=alpha)


def test_training_leaves_the_source_as_it_was():
    """A training step on JAX takes the memory of the weights."""
    source, x = classifier(), nets.images(8, 16)
    expected, result = run(source, [x]), octconvert.convert(source, min_size=1, calibration=False)
    result.model.fit(x, np.arange(8) % 5, verbose=0)
    assert largest_difference(expected, run(source, [x])) == 0


def test_all_steps_of_the_calibration_run(converted):
    steps = {step.name: step for step in converted[1].report.calibration.steps}
    assert {"select", "solve", "refine"} <= set(steps)
    assert steps["refine"].detail.startswith("30 steps")
    assert "by the next layers alone" not in steps["select"].detail  # there are gradients
    measures = {measure.name: measure for measure in converted[1].report.calibration.measures}
    assert measures["relative error"].after < measures["relative error"].before


def test_a_file_loads_as_it_was_compiled_and_trains(converted):
    _, result, path = converted
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = keras.saving.load_model(path)
    x = nets.images(8, 16)
    assert largest_difference(run(result.model, [x]), run(model, [x])) == 0
    assert np.isfinite(model.fit(x, np.arange(8) % 5, verbose=0).history["loss"][0])


def test_a_file_loads_on_tensorflow(converted):
    _, result, path = converted
    code = (
        "import sys, numpy, octconvert; model = octconvert.load(sys.argv[1]);"
        "numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2]), verbose=0))"
    )
    x, files = nets.images(8, 16), [path, path.with_name("x.npy"), path.with_name("y.npy")]
    np.save(files[1], x)
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    subprocess.run([sys.executable, "-c", code, *map(str, files)], check=True, env=environment)
    assert largest_difference(run(result.model, [x]), [np.load(files[2])]) <= 1e-5


def test_xla_is_reached_by_jax(converted):
    source, result, _ = converted
    deployed = octconvert.for_inference(result.model, "xla")
    x = nets.images(8, 16)
    assert largest_difference(run(result.model, [x]), run(deployed, [x])) <= 1e-5
    times = octconvert.bench({"source": source, "octave": result.model}, runtimes="xla", rounds=2, for_inference=True)
    assert [row.error for row in times.rows] == ["", ""] and all(row.median > 0 for row in times.rows)


def test_what_needs_tensorflow_says_so(converted, tmp_path):
    source, result, _ = converted
    for call in (
        lambda: octconvert.bench([source], runtimes=["litert"]),
        lambda: octconvert.export(result.model, tmp_path / "octave.tflite"),
        lambda: octconvert.distill(source, result.model, nets.images(8, 16)),
    ):
        with pytest.raises(UsageError, match="KERAS_BACKEND=tensorflow"):
            call()
    assert not list(tmp_path.iterdir())
