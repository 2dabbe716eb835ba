"""A graph run call by call is the model."""

import calibration_nets as nets
import numpy as np
import pytest
from oracle import run as call

from octconvert.model.execution import observe, run
from octconvert.model.graph_reader import build_graph

MAKERS = [nets.residual, *nets.TOPOLOGIES, nets.transformer_tail]


@pytest.mark.quick("residual", "nested", "two_inputs")
@pytest.mark.parametrize("make", MAKERS)
def test_the_outputs_are_those_of_the_model(make):
    model = make()
    inputs = [np.random.default_rng(0).standard_normal((3, *t.shape[1:])).astype("float32") for t in model.inputs]
    for each in (model, nets.alignment_of(model).model):
        expected = call(each, inputs)
        assert all(np.array_equal(a, b) for a, b in zip(expected, run(each, inputs), strict=True))


def test_wanted_tensors_come_in_order_and_alone():
    graph = build_graph(nets.small())
    wanted = [graph.outputs[0], graph.inputs[0], graph.calls[4].outputs[0]]
    assert [number for number, _ in observe(graph, [nets.images(2)], wanted)] == sorted(wanted)
