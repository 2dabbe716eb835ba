"""Convolutions over one or three axes are counted, and stay plain."""

from keras import Input, Model, layers
from oracle import assert_oracle, reasons


def test_other_dimensions_stay_plain():
    signal, volume = Input((16, 3)), Input((6, 6, 6, 2))
    x = layers.GlobalAveragePooling1D()(layers.Conv1D(4, 3)(signal))
    y = layers.GlobalAveragePooling3D()(layers.Conv3D(4, 3)(volume))
    result = assert_oracle(Model([signal, volume], layers.Concatenate()([x, y])), converted=0)
    assert set(reasons(result).values()) == {f"Conv{n}D: only 2-D convolutions are converted" for n in (1, 3)}
