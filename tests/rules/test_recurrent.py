"""ConvLSTM is counted, step by step, and stays as it is; what is around it is converted."""

import pytest
from keras import Input, Model, layers
from oracle import assert_oracle, reasons

STEPS, SIDE, FILTERS = 4, 8, 8
MACS = STEPS * SIDE * SIDE * 9 * (3 + FILTERS) * 4 * FILTERS


@pytest.mark.parametrize("sequences", [False, True])
def test_conv_lstm(sequences):
    inputs = Input((STEPS, 16, 16, 3))
    x = layers.ConvLSTM2D(FILTERS, 3, 2, "same", return_sequences=sequences, name="lstm")(inputs)
    if sequences:
        x = layers.Lambda(lambda t: t[:, -1])(x)
    x = layers.Conv2D(8, 3, padding="same")(layers.Conv2D(8, 3, padding="same")(x))
    result = assert_oracle(Model(inputs, x), converted=2)
    assert reasons(result)["lstm"] == "ConvLSTM2D: its state goes from step to step at one resolution"
    (row,) = [row for row in result.convolutions if row.name == "lstm"]
    assert row.macs_before == MACS
