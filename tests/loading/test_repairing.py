"""A repair returns a new configuration and leaves the one of the file unchanged."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from octconvert.loading import configuration, inspection
from octconvert.loading.context import ReadOptions
from octconvert.loading.repairing import repair

LEGACY = Path(__file__).parents[2] / "fixtures" / "legacy"


@pytest.mark.parametrize("name", ["keras1_two_branches.h5", "keras2_2_slashes.h5", "tf2_14_layers.keras"])
def test_the_configuration_of_the_file_is_not_changed(name):
    source = configuration.decode(inspection.inspect(LEGACY / name), ReadOptions())
    before = copy.deepcopy(source.record)
    repaired = repair(source)
    assert source.record == before and repaired.source is source
    assert repaired.record != before
