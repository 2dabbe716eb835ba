"""TensorFlow functions that tf.keras 2 kept as layers (``TFOpLambda``), written with Keras layers and operations.

`translation` replaces the layers of a configuration; `table` maps the path of a function, as ``nn.relu``, to the Python
function that builds it. The functions are in the other modules, one family a module: each has TensorFlow's own
signature and carries ``@implements("nn.relu", ...)``. To add a function, write it in the module of its family.

Where Keras has a layer for a function, the layer is used. An argument that a signature here does not have is refused,
and so is a value that has no equivalent in Keras: nothing is ignored.
"""

# Each module adds its functions to the table when it is imported.
from octconvert.loading.tensorflow import (  # noqa: F401
    activations,
    arithmetic,
    arrays,
    casts,
    colors,
    comparisons,
    convolutions,
    cropping,
    elementwise,
    linear_algebra,
    maps,
    normalization,
    ordering,
    pooling,
    reductions,
    resizing,
    shapes,
    slicing,
)
