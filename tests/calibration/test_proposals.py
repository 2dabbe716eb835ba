"""Several ways to a share of the MACs: each reaches it, whole-low interiors are among them."""

import calibration_nets as nets
import keras
import numpy as np
import pytest
from keras import layers
from test_alphas import search

from octconvert.calibration.alphas import ALPHAS, OutOfReach, with_alphas
from octconvert.calibration.proposals import proposals
from octconvert.planning.interiors import interior_blocks


@pytest.fixture(scope="module")
def resnet():
    exchange, planned = search(nets.residual(size=32))
    return exchange, planned, interior_blocks(planned.layout)


@pytest.mark.parametrize("target", [0.8, 0.6, 0.4, 0.27])
def test_every_way_reaches_the_target(resnet, target):
    exchange, planned, _ = resnet
    ways = proposals(exchange, planned.layout, target)
    assert ways[0].name == "by damage" and len({way.alphas for way in ways}) == len(ways)
    assert {"one alpha", "interiors whole-low"} & {way.name for way in ways}
    for way in ways:
        assert target - 0.15 < exchange.cost(np.array(way.alphas)) <= target


def test_the_plain_ways_are_what_they_say(resnet):
    exchange, planned, blocks = resnet
    inside = np.isin(np.arange(len(exchange.curves)), [index for block in blocks for index in block])
    ways = {way.name: np.array(way.alphas) for way in proposals(exchange, planned.layout, 0.6)}
    assert len(set(ways["one alpha"])) == 1
    interiors = ways["interiors whole-low"]
    assert (interiors == 1.0).any() and not interiors[~inside].any()


def test_where_interiors_are_not_enough_the_main_path_has_one_alpha(resnet):
    exchange, planned, blocks = resnet
    inside = np.isin(np.arange(len(exchange.curves)), [index for block in blocks for index in block])
    whole = exchange.cost(inside.astype(float))
    ways = {way.name: np.array(way.alphas) for way in proposals(exchange, planned.layout, whole - 0.05)}
    interiors = ways["interiors whole-low"]
    assert (interiors[inside] == 1.0).all() and len(set(interiors[~inside])) == 1 and interiors[~inside].min() > 0


def test_out_of_reach(resnet):
    with pytest.raises(OutOfReach):
        proposals(resnet[0], resnet[1].layout, 0.1)


def bottleneck():
    inputs = keras.Input((16, 16, 3))
    x = nets.conv_bn(inputs, 8)
    y = nets.conv_bn(nets.conv_bn(nets.conv_bn(x, 8, 1), 8), 8, 1, activation=None)
    return nets.randomise(keras.Model(inputs, nets.head(layers.Add()([x, y]))))


def test_detail_is_lost_once():
    """Behind a whole-low tensor, one that a convolution alone writes from it has no detail of its own."""
    exchange, planned = search(bottleneck())
    (block,) = interior_blocks(planned.layout)
    first, second = sorted(block)
    alphas = np.zeros(len(exchange.curves))
    alphas[first] = 1.0
    alone = exchange.damage(alphas)
    alphas[second] = 1.0
    assert exchange.damage(alphas) == pytest.approx(alone) and alone > 0
    alphas[first] = 0.0
    assert exchange.damage(alphas) == pytest.approx(exchange.curves[second, -1])


def test_a_layout_follows_alphas_of_1(resnet):
    _, planned, _ = resnet
    layout = with_alphas(planned, (ALPHAS[-1],) * len(planned.plan.groups)).layout
    assert all(split.whole_low for split in layout.splits.values())
