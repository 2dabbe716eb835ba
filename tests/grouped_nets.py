"""Small nets with a grouped convolution, for the tests of grouped and depthwise ones."""

from keras import Input, Model, layers


def conv(x, filters, groups=1, kernel=3, name=None, **options):
    return layers.Conv2D(filters, kernel, padding="same", groups=groups, name=name, **options)(x)


def between(filters, groups, width=None):
    inputs = Input((10, 11, 3))
    x = layers.BatchNormalization()(conv(inputs, filters, name="before"))
    x = layers.ReLU()(conv(x, width or filters, groups, name="grouped"))
    return Model(inputs, conv(x, 6, name="after"))
