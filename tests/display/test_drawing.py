"""The picture of feature maps."""

import importlib.util
import warnings
from dataclasses import replace

import numpy as np
import pytest

import octconvert.display  # noqa: F401  (registers how results are drawn)
from octconvert import UsageError
from octconvert.results.maps import ChannelMap, FeatureMaps, LayerMaps
from octconvert.results.shown import as_png


def layer_maps(size=(8, 12), source=True, high=2, name="conv"):
    low = tuple((length + 1) // 2 for length in size)

    def channel(part, number):
        shape = size if part == "high" else low
        values = np.arange(np.prod(shape), dtype="float32").reshape(shape)
        return ChannelMap(part, number, values, np.ones(size, "float32") if source else None)

    maps = [channel("high", each) for each in range(high)] + [channel("low", each) for each in range(3)]
    shape = (*size, high + 3) if source else None
    errors = (0.1, 0.05 if high else None, 0.3) if source else (None, None, None)
    return LayerMaps(name, 0.6, (*size, high) if high else None, (*low, 3), shape, tuple(maps), *errors)


def feature_maps(*layers, **names):
    usual = {"model": "net-octave.keras", "source": "net.h5", "image": "photo.jpg"}
    return FeatureMaps(**usual | names, layers=layers)


def size_of(picture):
    assert picture.startswith(b"\x89PNG\r\n")
    return int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])


def test_more_layers_are_a_taller_picture_of_the_same_width():
    one, two = (size_of(as_png(feature_maps(*[layer_maps()] * count))) for count in (1, 2))
    assert one[0] == two[0] and one[1] < two[1] < 2 * one[1]


@pytest.mark.parametrize(
    "layer",
    [
        layer_maps(source=False),
        layer_maps(high=0),
        layer_maps((31,)),
        layer_maps((31,), source=False),
        layer_maps((2, 90)),
        replace(layer_maps(), maps=tuple(replace(each, values=each.values * np.nan) for each in layer_maps().maps)),
    ],
    ids=["no source", "whole-low", "signal", "signal without source", "flat", "not a number"],
)
def test_every_kind_of_layer_is_drawn(layer):
    assert min(size_of(as_png(feature_maps(layer)))) > 200


def test_names_are_text_of_a_stranger():
    """Neither mathematics, which would fail, nor control characters, nor warnings about letters of other scripts."""
    strange = "$\\frac$ \x1b[31m \u4e2d\u6587 " + "very/" * 60 + "long"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = as_png(feature_maps(layer_maps(name=strange), model=strange, image=strange))
    assert b"tEXt" not in picture
    assert size_of(picture)


def test_the_settings_of_the_user_stay():
    import matplotlib

    before = dict(matplotlib.rcParams)
    as_png(feature_maps(layer_maps()))
    assert dict(matplotlib.rcParams) == before


def test_it_is_the_picture_in_a_notebook_and_a_table_in_a_terminal(tmp_path):
    maps = feature_maps(layer_maps())
    bundle, metadata = maps._repr_mimebundle_((), ())
    width, _ = size_of(bundle["image/png"])
    assert metadata["image/png"]["width"] < width
    assert "8x12x2" in str(maps) and "10%" in str(maps) and bundle["text/plain"] == str(maps)
    maps.save(tmp_path / "maps.png")
    assert (tmp_path / "maps.png").read_bytes() == bundle["image/png"]
    with pytest.raises(UsageError, match="exists already"):
        maps.save(tmp_path / "maps.png")


def test_without_matplotlib_there_is_a_hint(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    maps = feature_maps(layer_maps())
    with pytest.raises(UsageError, match=r"matplotlib, which is not installed: .*pip install .*\[show\]"):
        as_png(maps)
    bundle, _ = maps._repr_mimebundle_((), ())
    assert "8x12x2" in bundle["text/plain"] and "pip install" in bundle["text/plain"]
