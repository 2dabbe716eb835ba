"""`WeightTensor`: a weight as a tensor that operations read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import keras
from keras import constraints, ops, regularizers

from octconvert.layers.base import LayerKeywords
from octconvert.layers.tensors import Tensor


@keras.saving.register_keras_serializable(package="octconvert")
class WeightTensor(keras.layers.Layer):
    """The weight of a layer that computed with it by itself, as ``x * self.scale`` in its ``call``.

    Args:
        shape: of the weight.
        weight_dtype: of the weight; None: that of the layer's policy.
        trains: whether training changes it.
        regularizer, constraint: of the weight.

    Input: any tensor; it is not read, but layers take their place in a model by their inputs. Output: the weight, of
    ``shape``, without a batch axis.
    """

    def __init__(
        self,
        shape: Sequence[int],
        weight_dtype: str | None = None,
        trains: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        **keywords: Unpack[LayerKeywords],
    ):
        super().__init__(**keywords)
        self.shape, self.weight_dtype, self.trains = tuple(shape), weight_dtype, trains
        self.regularizer, self.constraint = regularizers.get(regularizer), constraints.get(constraint)
        self.value: keras.Variable | None = None

    @classmethod
    def of(cls, weight: keras.Variable, owner: keras.layers.Layer, name: str) -> WeightTensor:
        """The layer that shares a variable with the one that it is an own weight of."""
        is_frozen = not owner.trainable and any(weight is each for each in owner._trainable_variables)
        layer = cls(
            weight.shape,
            weight.dtype,
            weight.trainable or is_frozen,
            weight.regularizer,
            weight.constraint,
            name=name,
            dtype=owner.dtype_policy,
        )
        layer.value, layer.built = weight, True
        return layer

    def build(self, input_shape: Any) -> None:
        """Create the weight; shared ones are there already."""
        if self.value is None:
            self.value = self.add_weight(
                shape=self.shape,
                initializer="zeros",
                dtype=self.weight_dtype,
                trainable=self.trains,
                regularizer=self.regularizer,
                constraint=self.constraint,
                name="value",
            )

    def call(self, inputs: Any) -> Tensor:
        return ops.cast(ops.convert_to_tensor(self.value), self._output_dtype())

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.shape, dtype=self._output_dtype())

    def _output_dtype(self) -> str:
        """Layers compute with their weights in the dtype of their policy, but for integers."""
        is_float = self.weight_dtype is None or "float" in self.weight_dtype
        return str(self.compute_dtype if is_float else self.weight_dtype)

    def get_config(self) -> dict[str, Any]:
        own = {
            "shape": self.shape,
            "weight_dtype": self.weight_dtype,
            "trains": self.trains,
            "regularizer": regularizers.serialize(self.regularizer),
            "constraint": constraints.serialize(self.constraint),
        }
        return {**super().get_config(), **own}
