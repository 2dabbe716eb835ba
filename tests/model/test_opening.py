"""Layers are opened without a trace in the user's model, and only where the result is the same layer."""

import keras
import numpy as np
import pytest
from keras import Input, Model, layers, ops
from oracle import all_layers, assert_oracle, example, largest_difference, randomise, run

import octconvert


class Hiding(layers.Layer):
    """A convolution, and weights of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(8, 3, padding="same", name="conv")

    def build(self, shape):
        self.conv.build(shape)

    def compute_output_shape(self, shape):
        return (*shape[:-1], 8)

    def call(self, x):
        return self.conv(x)


def around(operation, size=(16, 16)):
    inputs = Input((*size, 3))
    x = operation(layers.Conv2D(8, 3, padding="same")(inputs))
    return Model(inputs, layers.Conv2D(4, 3, padding="same")(x))


def converted(model, **options):
    return octconvert.convert(model, octave=1, min_size=1, calibration=False, **options)


def note_on(result, name="block"):
    (note,) = [note for note in result.report.notes if f"'{name}'" in note]
    return note


class Writing(Hiding):
    """Writes whatever a ``call`` can write, in itself and in a layer that it holds."""

    def __init__(self, inside=False, **kwargs):
        super().__init__(**kwargs)
        self.inner = None if inside else Writing(inside=True, name="inner")
        self.auxiliary, self.seen, self.counts = layers.Dense(3), [], {"calls": 0}

    def build(self, shape):
        super().build(shape)
        if self.inner is not None:
            self.inner.build(shape)

    def call(self, x, training=None):
        self.last = self.conv(x)
        self.seen.append(self.last)
        self.counts["calls"] += 1
        if training:
            self.auxiliary(self.last)  # never built: the model was never trained
        return self.last if self.inner is None else self.inner(self.last)


def test_nothing_is_written_to_the_model():
    model = around(Writing(name="block"))
    run(model, example(model))
    parts = [layer for layer in all_layers(model) if isinstance(layer, (Writing, layers.Dense))]
    blocks = [part for part in parts if isinstance(part, Writing)]
    state = lambda: [(set(vars(part)), len(part.weights), part.built, len(part.losses)) for part in parts]  # noqa: E731
    written = lambda: [(len(each.seen), each.counts["calls"], id(each.last)) for each in blocks]  # noqa: E731
    before = state(), written()
    octconvert.convert(model, min_size=1, calibration=False)
    assert (state(), written()) == before
    assert_oracle(model, converted=4)


class InTraining(Hiding):
    """Has statistics of the batch at all times, which changes its weights."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.BatchNormalization()

    def build(self, shape):
        super().build(shape)
        self.norm.build(shape)

    def call(self, x):
        return self.norm(self.conv(x), training=True)


def test_closed_layers_that_change_their_weights_change_none_of_the_model():
    model = around(InTraining(name="block"))
    before = [np.array(weight) for weight in model.weights]
    converted(model)
    assert all(np.array_equal(a, np.array(b)) for a, b in zip(before, model.weights, strict=True))


class Scaled(Hiding):
    factor = 1.0

    def call(self, x, by=1.0):
        return self.conv(x) * self.factor * by


def test_attributes_may_change_between_conversions():
    block = Scaled(name="block")
    model = randomise(around(block))
    converted(model)
    block.factor = 3.0
    inputs = example(model)
    assert largest_difference(run(model, inputs), run(converted(model).model, inputs)) <= 1e-5


def test_calls_with_other_numbers_are_other_calls():
    """Large arrays look alike as text."""
    block, inputs = Scaled(name="block"), Input((40, 40, 8))
    first, second = np.ones((1, 40, 40, 1), "float32"), np.ones((1, 40, 40, 1), "float32")
    second[0, 20, 20] = 5
    model = randomise(Model(inputs, layers.Conv2D(4, 3)(block(block(inputs, by=first), by=second))))
    samples, result = example(model), converted(model)
    assert largest_difference(run(model, samples), run(result.model, samples)) <= 1e-5
    assert "its calls have different arguments" in note_on(result)


class OwnWeights(Hiding):
    """In lists and dictionaries, two of one name, one named as a layer; with a regulariser and a constraint."""

    def build(self, shape):
        super().build(shape)
        self.scales = [self.add_weight(shape=(8,), name="scale") for _ in range(2)]
        more = {"regularizer": "l2", "constraint": "non_neg"}
        self.more = {"kept": [self.add_weight(shape=(8,), name="conv", **more)]}

    def call(self, x):
        return self.conv(x) * self.scales[0] + self.scales[1] * self.more["kept"][0]


def test_own_weights():
    result = assert_oracle(around(OwnWeights(name="block")), converted=3)
    (name,) = [weight.path for weight in result.model.trainable_variables if weight.regularizer]
    assert name.endswith("conv_2/value")
    (kept,) = [weight for weight in result.model.trainable_variables if weight.constraint]
    copy = keras.models.clone_model(result.model)
    assert [weight.path for weight in copy.trainable_variables if weight.regularizer and weight.constraint] == [
        kept.path
    ]


def test_own_weights_of_a_frozen_layer_are_trained_once_it_is_not():
    block = OwnWeights(name="block")
    model = around(block)
    block.trainable = False
    result = converted(model)
    block = result.model.get_layer("block")
    assert not block.trainable_variables
    block.trainable = True
    assert sum(weight.path.endswith("/value") for weight in block.trainable_variables) == 3


class Frozen(InTraining):
    """Statistics that training does not change."""

    def call(self, x):
        return self.norm(self.conv(x), training=False)


class Dropping(Hiding):
    """Leaves it to Keras whether it is in training."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.drop = layers.Dropout(0.5)

    def call(self, x):
        return self.drop(self.conv(x))


def test_what_is_frozen_in_training_is_reported():
    result = assert_oracle(around(Frozen(name="block")), converted=3)
    assert "other things in training" in note_on(result)
    assert not [note for note in converted(around(Dropping(name="block"))).report.notes if "'block'" in note]


class Helper:
    """No layer: Keras does not see what it holds."""

    def __init__(self):
        self.conv = layers.Conv2D(8, 3, padding="same")
        self.conv.build((None, 16, 16, 8))


class Helped(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.helper = Helper()

    def call(self, x):
        return self.helper.conv(x)


def test_layers_that_keras_does_not_see():
    result = assert_oracle(around(Helped(name="block")), converted=3)
    assert result.after.parameters == result.before.parameters + 8 * 8 * 9 + 8


class Tied(Hiding):
    """Computes with the kernel of a layer that it calls as well."""

    def call(self, x):
        return self.conv(x) * ops.mean(self.conv.kernel)


class TiedKernel(Hiding):
    def call(self, x):
        return ops.conv(self.conv(x), self.conv.kernel, padding="same")


class Choosing(Hiding):
    def call(self, x):
        return ops.cond(ops.mean(x) > 0, lambda: self.conv(x), lambda: x)


class Looping(Hiding):
    def call(self, x):
        return ops.fori_loop(0, 3, lambda _, y: y * 1.5, self.conv(x))


class Penalised(Hiding):
    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "activity_regularizer": "l2"})


class Masking(Hiding):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def compute_mask(self, x, mask=None):
        return ops.any(ops.not_equal(x, 0), axis=-1)


CLOSED = {
    Tied: "computes with the weight 'kernel' itself",
    TiedKernel: "computes with the weight 'kernel' itself",
    Choosing: "passes a function to",
    Looping: "which Keras can not save",
    Penalised: "it adds a loss of its own",
    Masking: "it makes a mask",
}


@pytest.mark.parametrize("kind", CLOSED, ids=lambda kind: kind.__name__)
def test_closed(kind):
    model = randomise(around(kind(name="block")))
    inputs, result = example(model), converted(model)
    assert largest_difference(run(model, inputs), run(result.model, inputs)) <= 1e-5
    assert CLOSED[kind] in note_on(result)
    assert len(model.losses) == (kind is Penalised)


class Forgetting(Hiding):
    """Its ``build`` forgets one of its layers, which gets its weights when the model runs for the first time."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.second = layers.Conv2D(8, 3, padding="same", name="second")

    def call(self, x):
        return self.second(self.conv(x))


def test_layers_without_weights_get_them_first():
    model = around(Forgetting(name="block"))
    result, inputs = converted(model), example(model)
    assert len(result.report.converted) == 4
    assert largest_difference(run(model, inputs), run(result.model, inputs)) <= 1e-5


def test_a_variable_in_a_lambda_stays_there():
    """Training changes it neither before nor after."""
    variable = keras.Variable(np.full(8, 2.0, "float32"))
    model = randomise(around(layers.Lambda(lambda x: x * variable, name="block")))
    inputs = example(model)
    assert largest_difference(run(model, inputs), run(converted(model).model, inputs)) <= 1e-5


def test_in_time_distributed_at_several_sizes():
    wrapper, small, large = (
        layers.TimeDistributed(Hiding(name="block"), name="steps"),
        Input((3, 8, 8, 8)),
        Input((2, 16, 16, 8)),
    )
    assert_oracle(Model([small, large], [wrapper(small), wrapper(large)]))


@pytest.mark.parametrize("base", [keras.Model, keras.Sequential], ids=["functional", "sequential"])
def test_models_with_a_call_of_their_own(base):
    class Doubling(base):
        def call(self, inputs, training=None, mask=None):
            return 2 * super().call(inputs, training=training)

    convs = [layers.Conv2D(8, 3, padding="same") for _ in range(2)]
    image = Input((16, 16, 3))
    model = Doubling([image, *convs]) if base is keras.Sequential else Doubling(image, convs[1](convs[0](image)))
    inputs = example(randomise(model))
    result = converted(model)
    assert len(result.report.converted) == 2
    assert largest_difference(run(model, inputs), run(result.model, inputs)) <= 1e-5
