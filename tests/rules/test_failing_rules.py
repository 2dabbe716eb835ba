"""A rule that raises while it rewrites leaves its layer plain, in every kind of conversion."""

import numpy as np
import pytest
from calibration_nets import images
from doubled import FailingRule, doubled_net, registered
from oracle import randomise, reasons, roles, run

import octconvert

REASON = "could not be rewritten: no idea"


@pytest.mark.quick("without calibration")
@pytest.mark.parametrize(
    "options",
    [
        {"calibration": False},
        {"calibration_steps": ("select", "solve")},
        {"calibration_steps": ("solve",), "target_macs": 0.8},
    ],
    ids=["without calibration", "calibration", "target_macs"],
)
def test_its_layer_is_plain_and_the_rest_converted(options):
    model, data = randomise(doubled_net()), images(16)
    if options.get("calibration") is not False:
        options = {**options, "calibration": data}
    with registered(FailingRule):
        result = octconvert.convert(model, min_size=1, **options)
    assert "doubled" in {layer.name for layer in result.model.layers}  # and not a copy for each map
    assert REASON in reasons(result)["before"]
    assert len(result.plan.converted) >= 2 and roles(result)["after"] != "plain"
    assert np.isfinite(run(result.model, data)[0]).all()
    assert REASON in octconvert.Plan.from_json(result.plan.to_json()).convolutions[1].reason
