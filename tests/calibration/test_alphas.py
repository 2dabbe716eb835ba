"""Alphas for a share of the MACs."""

import calibration_nets as nets
import numpy as np
import pytest

import octconvert
from octconvert.calibration.alphas import ALPHAS, AlphaSearch, with_alphas
from octconvert.calibration.selection import roughness, survey
from octconvert.calibration.target_costs import MacCosts
from octconvert.costs.cost import measure
from octconvert.errors import UsageError


def search(model, scale=1.0):
    planned = nets.planned(model, alpha=0.5)
    layout = planned.layout
    samples = nets.samples(nets.images(16, model.inputs[0].shape[1]))
    rough = scale * roughness(layout, survey(layout, samples.batches(8), 2))
    return AlphaSearch(layout, MacCosts(layout, measure(layout.graph)[0], 2), rough), planned


@pytest.fixture(scope="module")
def resnet():
    return search(nets.residual(size=32))


@pytest.mark.parametrize("target", [0.8, 0.65, 0.5])
def test_reaches_the_target_and_not_much_less(resnet, target):
    choice = resnet[0].choose(target)
    assert target - 0.06 < choice.cost <= target
    assert all(alpha in ALPHAS for alpha in choice.alphas)
    assert choice.damage == pytest.approx(resnet[0].damage(np.array(choice.alphas)))


def test_what_does_no_damage_is_taken_whole(resnet):
    choice = resnet[0].choose(0.95)  # only global pooling reads the last group
    assert choice.damage == 0.0 and choice.alphas[-1] > 0 and not any(choice.alphas[:-1])


def test_fewer_macs_do_more_damage(resnet):
    damages = [resnet[0].choose(target).damage for target in (0.9, 0.8, 0.7, 0.6, 0.5)]
    assert damages == sorted(damages) and damages[0] < damages[-1]


def test_chosen_alphas_do_less_damage_than_equal_ones(resnet):
    exchange = resnet[0]
    equal = np.full(len(exchange.curves), 0.375)
    assert exchange.choose(exchange.cost(equal)).damage < exchange.damage(equal)


def test_out_of_reach(resnet):
    with pytest.raises(UsageError, match=r"target_macs 0.1 is out of reach: 0\.\d\d of the MACs at the least"):
        resnet[0].choose(0.1)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_unit_of_the_damage_does_not_matter(scale):
    model = nets.small()
    usual, other = search(model)[0], search(model, scale)[0]
    assert other.choose(0.7).cost <= 0.7
    assert abs(other.choose(0.7).damage / scale / usual.choose(0.7).damage - 1) < 0.05


def test_the_lowest_target_takes_all_there_is(resnet):
    exchange = resnet[0]
    least = exchange.cost(np.full(len(exchange.curves), ALPHAS[-1]))
    assert exchange.choose(least + 1e-9).alphas == (ALPHAS[-1],) * len(exchange.curves)


@pytest.fixture(
    scope="module",
    params=[
        lambda: nets.residual(size=32, width=16),
        lambda: nets.inverted_residual(size=32, width=16),
        lambda: nets.unet(size=32),
    ],
    ids=["residual", "inverted", "unet"],
)
def model_and_costs(request):
    model = request.param()
    return model, search(model)[0]


@pytest.mark.quick("residual-0.7", "unet-0.125")
@pytest.mark.parametrize("alpha", [0.125, 0.7])
def test_costs_are_those_of_a_conversion(model_and_costs, alpha):
    model, exchange = model_and_costs
    report = octconvert.convert(model, alpha=alpha, min_size=1, calibration=False).report
    expected = report.after.macs / report.before.macs
    assert exchange.cost(np.full(len(exchange.curves), alpha)) == pytest.approx(expected, rel=1e-3)


def test_no_low_channels_cost_what_the_source_costs(resnet):
    assert resnet[0].cost(np.zeros(len(resnet[0].curves))) == pytest.approx(1.0)


def test_layout_with_alphas_has_them(resnet):
    _, planned = resnet
    alphas = tuple(0.25 if i % 2 else 0.5 for i in range(len(planned.plan.groups)))
    found = with_alphas(planned, alphas).layout
    assert found.alphas == alphas
    for (_, masks), alpha in zip(found.groups, alphas, strict=True):
        assert all(mask.mean() == alpha for mask in masks)
