"""The parts of a model: calls that runtimes run as one."""

import keras
from keras import layers
from part_models import classes, conv, parts_of, residual, shapes

from octconvert.model.graph import OPERATION
from octconvert.model.graph_reader import build_graph


def test_a_part_is_what_runs_in_one_go():
    model = residual()
    found = parts_of(model).parts
    assert [classes(part) for part in found] == [
        ["Conv2D", "BatchNormalization", "ReLU"],
        ["Conv2D", "BatchNormalization"],
        ["Add", "ReLU"],
        ["GlobalAveragePooling2D", "Dense", "Reshape"],
        ["Multiply", "MaxPooling2D"],
        ["Conv2D"],
        ["DepthwiseConv2D"],
        ["Conv2D", "GlobalAveragePooling2D", "Dense"],
    ]
    decides = [bool(part.decides) for part in found]
    assert decides == [True, True, False, True, False, True, False, True]


def test_the_parts_are_the_whole_model_piece_by_piece():
    """Everything that a pair can reach is in one part, and only in one."""
    model = residual()
    calls = [call.name for part in parts_of(model).parts for call in part.calls]
    every = [call.name for call in build_graph(model).calls if call.kind == OPERATION]
    assert sorted(calls) == sorted(every)


def test_nested_and_shared_models_come_apart_as_well():
    image = keras.Input((16, 16, 8))
    inner = keras.Model(image, layers.ReLU()(conv(image)), name="inner")
    source = keras.Input((16, 16, 3))
    model = keras.Model(source, conv(inner(inner(conv(source))), 2))
    found = parts_of(model).parts
    assert [classes(part) for part in found] == [["Conv2D"], ["Conv2D", "ReLU"], ["Conv2D", "ReLU"], ["Conv2D"]]
    assert shapes(parts_of(model).model(found[1]).outputs) == [(16, 16, 8)]
