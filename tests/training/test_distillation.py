"""Distillation: the converted model comes closer to its source, which stays as it is."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from oracle import randomise
from processes import run_as_program

import octconvert
from octconvert.errors import InputError, UsageError
from octconvert.model.graph_reader import build_graph
from octconvert.training.augmentation import flip_and_shift
from octconvert.training.data import read_training_data
from octconvert.training.distillation import distill
from octconvert.training.distiller import Distiller
from octconvert.training.losses import SigmoidDivergence, SoftmaxDivergence, output_kind

COUNT, CLASSES = 96, 5


def net(head=None, inputs=None, dtype=None) -> keras.Model:
    """Two convolutions with BatchNormalization and what ``head`` makes of the last map (by default logits)."""
    inputs = keras.Input((8, 8, 3), name="image") if inputs is None else inputs
    x = layers.Concatenate()(inputs) if isinstance(inputs, list) else inputs
    for number in (1, 2):
        x = layers.Conv2D(8, 3, padding="same", use_bias=False, name=f"conv{number}", dtype=dtype)(x)
        x = layers.BatchNormalization(name=f"bn{number}", dtype=dtype)(x)
        x = layers.ReLU(name=f"relu{number}", dtype=dtype)(x)
    return randomise(keras.Model(inputs, (head or logits)(x)))


def logits(x):
    return layers.Dense(CLASSES, dtype="float32", name="classes")(layers.GlobalAveragePooling2D(name="mean")(x))


def images(count=COUNT) -> np.ndarray:
    """Coarse noise: fine noise is lost in the low maps and could not be learnt."""
    return np.random.default_rng(0).normal(size=(count, 4, 4, 3)).astype("float32").repeat(2, axis=1).repeat(2, axis=2)


def numbers(count=COUNT) -> np.ndarray:
    return np.random.default_rng(1).integers(0, CLASSES, count)


def converted_of(source) -> keras.Model:
    """A conversion, pushed away from its source: the mean of a random map is nearly right without any training."""
    result = octconvert.convert(source, alpha=0.5, min_size=1, calibration=False)
    assert result.plan.converted
    rng = np.random.default_rng(2)
    for weight in result.model.trainable_weights:
        weight.assign_add(0.1 * rng.normal(size=weight.shape))
    return result.model


def distance(source, converted, x) -> float:
    """Largest over the outputs of the squared error relative to the source's variance, in inference mode."""
    pairs = zip(*(keras.tree.flatten(model(x, training=False)) for model in (source, converted)), strict=True)
    arrays = [[ops.convert_to_numpy(ops.cast(t, "float32")) for t in pair] for pair in pairs]
    return max(float(((a - b) ** 2).mean() / a.var()) for a, b in arrays)


def comes_closer(source, data, x, **options) -> keras.Model:
    """Distil a conversion of ``source``; whatever the data, its distance must be halved and the source unchanged."""
    converted = converted_of(source)
    before, weights = distance(source, converted, x), source.get_weights()
    options = {"epochs": 8, "learning_rate": 1e-2, "batch_size": 16, "verbose": 0} | options
    history = distill(source, converted, data, **options).history["loss"]
    assert history[-1] < history[0]
    assert distance(source, converted, x) < before / 2
    assert all((a == b).all() for a, b in zip(weights, source.get_weights(), strict=True))
    return converted


def test_outputs_come_closer_and_the_source_stays(tmp_path):
    source, x = net(), images()
    source.compile("sgd", "mse")
    source.layers[1].trainable = False  # a frozen layer of the source stays what it is, too
    before = [(layer.trainable, len(layer.trainable_weights)) for layer in source.layers]
    converted = comes_closer(source, x, x)
    assert before == [(layer.trainable, len(layer.trainable_weights)) for layer in source.layers]
    converted.save(tmp_path / "model.keras")
    loaded = octconvert.load(tmp_path / "model.keras")
    assert np.allclose(loaded.predict(x, verbose=0), converted.predict(x, verbose=0), atol=1e-5)


@pytest.mark.long
def test_compile_settings_of_the_converted_model_stay():
    source, x = net(), images()
    source.compile(keras.optimizers.SGD(0.5), "mae", metrics=["mse"])
    converted = converted_of(source)
    optimizer, loss, settings = converted.optimizer, converted.loss, converted.get_compile_config()
    distill(source, converted, x, 1, verbose=0)
    assert converted.optimizer is optimizer and converted.loss == loss
    assert converted.get_compile_config() == settings
    assert not optimizer.built and float(optimizer.learning_rate) == 0.5


@pytest.mark.long
def test_converted_models_train_with_fit():
    source, x = net(), images()
    converted = converted_of(source)
    converted.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = converted.fit(x, numbers(), epochs=8, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def shares(x):
    return layers.Dense(CLASSES, "softmax", name="shares")(layers.GlobalAveragePooling2D(name="mean2")(x))


HEADS = {
    "logits": logits,
    "softmax": lambda x: layers.Reshape((1, CLASSES))(shares(x)),
    "sigmoid": lambda x: layers.Activation("sigmoid", name="parts")(layers.Conv2D(2, 1, name="part")(x)),
    "map": lambda x: layers.Conv2D(2, 1, name="map")(x),
    "softmax map": lambda x: layers.Softmax(name="segments")(layers.Conv2D(3, 1, name="segment")(x)),
    "softmax rows": lambda x: layers.Softmax(axis=1, name="rows")(layers.Conv2D(1, 1, name="row")(x)),
}
KINDS = {"logits": "linear", "map": "linear", "softmax map": "softmax", "softmax rows": "softmax"}


@pytest.mark.long
def test_every_kind_of_output():
    source = net(lambda x: {name: head(x) for name, head in HEADS.items()})
    graph = build_graph(source)
    kinds = dict(zip(sorted(HEADS), (output_kind(graph, number) for number in graph.outputs), strict=True))
    assert {name: kind.name for name, kind in kinds.items()} == {name: KINDS.get(name, name) for name in HEADS}
    comes_closer(source, images(), images(), epochs=16)


def test_divergences_are_those_of_the_distributions():
    rng = np.random.default_rng(3)
    a, b = (rng.dirichlet(np.ones(4), 6).astype("float32") for _ in range(2))
    expected = (a * np.log(a / b)).sum(-1).mean()
    assert np.allclose(SoftmaxDivergence(1.0)(a, b), expected, rtol=1e-4)
    assert np.allclose(SoftmaxDivergence(1.0, from_logits=True)(np.log(a), np.log(b) + 3), expected, rtol=1e-4)
    assert np.allclose(SoftmaxDivergence(1.0, axis=1)(a[:, :, None], b[:, :, None]), expected, rtol=1e-4)
    both = a * np.log(a / b) + (1 - a) * np.log((1 - a) / (1 - b))
    assert np.allclose(SigmoidDivergence(1.0)(a, b), both.mean(), rtol=1e-3)
    certain = np.eye(4, dtype="float32")
    for loss in (SoftmaxDivergence(1.0), SigmoidDivergence(1.0), SoftmaxDivergence(0.5)):
        assert np.isfinite(loss(certain, certain[::-1]))


@pytest.mark.long
def test_several_inputs_and_outputs_with_labels_and_weights():
    inputs = [keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 1), name="right")]
    source = net(lambda x: [shares(x), HEADS["map"](x)], inputs)
    x, y = [images(), images()[..., :1]], [numbers(), np.zeros((COUNT, 8, 8, 2), "float32")]
    named = dict(zip(("left", "right"), x, strict=True))
    labels = {
        "labels_weight": 0.01,
        "labels_loss": ["sparse_categorical_crossentropy", None],
        "validation_data": (named, y),
    }
    comes_closer(source, (named, y, np.ones(COUNT, "float32")), x, **labels)
    batches = tf.data.Dataset.from_tensor_slices((tuple(x), tuple(y))).batch(16)
    comes_closer(source, batches, x)


class Batches(keras.utils.PyDataset):
    """Six batches of images and labels."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        part = slice(16 * index, 16 * index + 16)
        return images()[part], numbers()[part]


class Loader:
    """Six batches that can be gone through again, as a torch DataLoader gives them."""

    def __len__(self):
        return 6

    def __iter__(self):
        return iter(np.split(images(), 6))


def generated(rounds=8):
    for _ in range(rounds):
        yield from np.split(images(), 6)


@pytest.mark.long
def test_generators():
    comes_closer(net(), generated(), images(), steps_per_epoch=6)


def test_every_kind_of_data():
    rows = tf.data.Dataset.from_tensor_slices((images(), numbers()))
    read = partial(read_training_data, name="data", model=net(), batch_size=16, need_labels=False)
    of_unknown_length = rows.filter(lambda image, label: True).batch(16)
    labelled = [(images(), numbers()), rows.batch(16), of_unknown_length, Batches()]
    for data in (images(), [images()], {"image": images()}, (images(),), Loader(), *labelled):
        found = read(data, None)
        assert (found.steps, found.is_endless) == (6, isinstance(data, Loader))
        assert (found.first[1] is not None) == any(data is each for each in labelled)
    for data in (rows.batch(16).repeat(), generated(), images()):
        assert read(data, 4).steps == 4


@pytest.mark.long
def test_labels_count_as_much_as_asked():
    source, x, y = net(), images(), numbers()
    converted = converted_of(source)
    options = {"labels_weight": 1.0, "learning_rate": 2e-2, "validation_data": (x[:16], y[:16]), "verbose": 0}
    history = distill(source, converted, Batches(), 15, **options).history
    assert history["loss"][-1] < 1.3  # cross-entropy, guessed from the class numbers; it is 1.6 by chance
    assert (converted.predict(x, verbose=0).argmax(-1) == y).mean() > 0.5
    right = keras.losses.sparse_categorical_crossentropy(y[:16], converted(x[:16]), from_logits=True)
    assert history["val_loss"][-1] == pytest.approx(float(ops.mean(right)), rel=1e-3)


@pytest.mark.long
def test_augmented_batches_of_a_sequential_model():
    """Batches that can be gone through again; both models see them moved."""
    seen = []
    augment = lambda batch: seen.append(batch.shape) or flip_and_shift(batch)  # noqa: E731
    source = keras.Sequential(net().layers)
    comes_closer(source, Loader(), images(), augment=augment, validation_data=Loader())
    assert seen and seen[0][1:] == (8, 8, 3)
    moved = flip_and_shift(tf.constant(images()))
    assert moved.shape == images().shape and not np.allclose(moved, images())


@pytest.mark.long
@pytest.mark.parametrize("policy, optimizer", [("mixed_float16", "LossScaleOptimizer"), ("mixed_bfloat16", "Muon")])
def test_mixed_precision(policy, optimizer):
    found = []
    see = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: found.append(see.model))
    converted = comes_closer(net(dtype=policy), images(), images(), callbacks=[see])
    assert converted.get_layer("relu2-H").compute_dtype != "float32"
    assert isinstance(found[0], Distiller) and type(found[0].optimizer).__name__ == optimizer


@pytest.mark.long
def test_under_a_strategy_with_two_devices():
    """In a process of its own: TensorFlow can be told of devices only before it starts."""
    run_as_program(__file__)


class Equal(keras.callbacks.Callback):
    """Both devices have the same weights."""

    def on_train_batch_end(self, batch, logs=None):
        for variable in self.model.trainable_variables:
            first, second = (np.array(value) for value in variable.value.values)
            assert np.array_equal(first, second), variable.path


def train_on_two_devices() -> None:
    device = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")])
    assert strategy.num_replicas_in_sync == 2
    with strategy.scope():
        source = net()
        comes_closer(source, images(), images(), epochs=16, callbacks=[Equal()])
        first = Distiller(source, converted := converted_of(source), [keras.losses.MeanSquaredError()])
        first.compile("sgd")
    told = first.evaluate(images(), batch_size=COUNT, verbose=0)
    assert np.isclose(told, np.square(source(images()) - converted(images())).mean(), rtol=1e-3)


def test_mistakes_are_told_in_one_line():
    source, x = net(), images(16)
    converted = converted_of(source)
    other = net(lambda x: layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    endless = tf.data.Dataset.from_tensors(x).repeat()
    mistakes = [
        (InputError, "outputs differ", (source, other, x), {}),
        (InputError, "share weights", (source, source, x), {}),
        (InputError, "expected a Keras model", (source, np.asarray, x), {}),
        (UsageError, "epochs", (source, converted, x, 0), {}),
        (UsageError, "labels_weight", (source, converted, x), {"labels_weight": 2}),
        (UsageError, "temperature", (source, converted, x), {"temperature": 0}),
        (UsageError, "no labels", (source, converted, x), {"labels_weight": 0.5}),
        (UsageError, "no labels", (source, converted, tf.data.Dataset.from_tensors(x)), {"labels_weight": 0.5}),
        (UsageError, "no labels", (source, converted, Batches()), {"labels_weight": 0.5, "validation_data": x}),
        (InputError, "no samples", (source, converted, x[:0]), {}),
        (InputError, "no samples", (source, converted, tf.data.Dataset.from_tensors(x).take(0)), {}),
        (InputError, "no samples", (source, converted, iter(())), {"steps_per_epoch": 1}),
        (InputError, "received str", (source, converted, "images.npz"), {}),
        (InputError, "4.*3", (source, converted, x[0]), {}),
        (InputError, "1 input", (source, converted, [x, x]), {}),
        (UsageError, "steps_per_epoch", (source, converted, endless), {}),
        (UsageError, "steps_per_epoch", (source, converted, generated()), {}),
    ]
    for kind, told, arguments, options in mistakes:
        with pytest.raises(kind, match=told) as caught:
            distill(*arguments, **options)
        assert "\n" not in str(caught.value)
    converted.trainable = False
    with pytest.raises(InputError, match="no trainable weights"):
        distill(source, converted, x)


if __name__ == "__main__":
    train_on_two_devices()


def test_the_public_name_is_the_function_whatever_was_imported_before():
    import octconvert
    import octconvert.calibration.refinement

    assert octconvert.distill is distill


@pytest.mark.long
def test_a_near_start_keeps_its_statistics():
    source = net()
    converted = octconvert.convert(source, alpha=0.5, min_size=1, octave=1, calibration=False).model
    statistics = [np.array(v) for v in converted.non_trainable_weights]
    distill(source, converted, images(), epochs=1, batch_size=32, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(statistics, converted.non_trainable_weights, strict=True))
    assert all(layer.trainable for layer in converted.layers)
    distill(source, converted, images(), epochs=1, batch_size=32, batch_statistics=True, verbose=0)
    assert not any(np.array_equal(a, b) for a, b in zip(statistics, converted.non_trainable_weights, strict=True))


@pytest.mark.long
def test_a_far_start_learns_new_ones():
    source = net()
    converted = converted_of(source)
    statistics = [np.array(v) for v in converted.non_trainable_weights]
    distill(source, converted, images(), epochs=1, batch_size=32, verbose=0)
    assert not any(np.array_equal(a, b) for a, b in zip(statistics, converted.non_trainable_weights, strict=True))
