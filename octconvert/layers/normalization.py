"""Normalisations whose statistics join the channels of both groups of a pair: over channels, or over groups of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from octconvert.layers import base, reading, spatial
from octconvert.layers.tensors import Maps, Shapes, Tensor

_CHOICES = {
    "gamma_initializer": "ones",
    "beta_initializer": "zeros",
    "gamma_regularizer": None,
    "beta_regularizer": None,
    "gamma_constraint": None,
    "beta_constraint": None,
}
MODES = ("layer", "rms", "unit")


class _PairNormalization(keras.layers.Layer):
    """A gain (gamma) and a shift (beta) for each channel of both maps, and how to apply them.

    Statistics are in at least float32, as Keras' own are; the output has the layer's compute dtype.
    """

    def __init__(
        self,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        octave: int | Sequence[int] = 2,
        data_format: str | None = None,
        dtype: Any = None,
        name: str | None = None,
        trainable: bool = True,
        **choices: Any,
    ):
        super().__init__(dtype=dtype, name=name, trainable=trainable)
        unknown = [key for key in choices if key not in _CHOICES]
        if unknown:
            raise TypeError(f"layer '{self.name}': unexpected argument {unknown[0]!r}")
        self.epsilon, self.center, self.scale = epsilon, center, scale
        self.octave = reading.check_octave(octave, 1 if isinstance(octave, int) else len(octave))
        self.data_format = reading.standard_data_format(data_format)
        self.autocast = False
        base.set_choices(self, {**_CHOICES, **choices})

    def build(self, input_shape: Shapes) -> None:
        high, low = reading.split_shapes(input_shape, self.name)
        if low is None:
            raise ValueError(f"layer '{self.name}': expected a pair [high, low], received one tensor")
        self.widths = tuple(shape[self._axis(len(shape))] for shape in (high, low))
        for name, is_used in (("gamma", self.scale), ("beta", self.center)):
            for group, width in zip(("high", "low"), self.widths, strict=True):
                label = f"{group}_{name}"
                vector = base.add_weight(self, label, (width,), name, autocast=False) if is_used else None
                setattr(self, label, vector)
        self.built = True

    def _axis(self, rank: int) -> int:
        """Channel axis of a map or of a (batch, channels) vector."""
        return spatial.channel_axis(self.data_format, rank - 2) if rank > 2 else rank - 1

    def _inputs(self, inputs: Maps) -> tuple[Tensor, Tensor]:
        high, low = reading.split_pair(inputs, self.name)
        kind = keras.backend.result_type(high.dtype, "float32")
        return ops.cast(high, kind), ops.cast(low, kind)

    def _outputs(self, parts: Iterable[Tensor], inverses: Iterable[Tensor]) -> list[Tensor]:
        """``part * inverse * gamma + beta`` for both; parts have no mean any more."""
        outputs = []
        for part, inverse, group in zip(parts, inverses, ("high", "low"), strict=True):
            gamma, beta = getattr(self, f"{group}_gamma"), getattr(self, f"{group}_beta")
            shape = [1] * len(part.shape)
            shape[self._axis(len(part.shape))] = -1
            if gamma is not None:
                inverse = inverse * ops.cast(ops.reshape(gamma, shape), part.dtype)
            part = part * inverse
            if beta is not None:
                part = part + ops.cast(ops.reshape(beta, shape), part.dtype)
            outputs.append(ops.cast(part, self.compute_dtype))
        return outputs

    def compute_output_spec(self, inputs: Maps) -> list[keras.KerasTensor]:
        high, low = reading.split_pair(inputs, self.name)
        if len(high.shape) > 2:
            shapes, rank = (tuple(high.shape), tuple(low.shape)), spatial.rank_of(high)
            reading.check_pair_shapes(self.name, *shapes, self.octave, self.data_format, rank)
        return [keras.KerasTensor(tuple(part.shape), dtype=self.compute_dtype) for part in (high, low)]

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("epsilon", "center", "scale", "octave", "data_format")}
        return {**super().get_config(), **own, **base.choices_config(self, _CHOICES)}


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveLayerNormalization(_PairNormalization):
    """Normalise every position over the channels of both maps.

    At a high position the statistics are those of its high channels and of the low cell above it; at a low cell those
    of its low channels and the average of the high positions under it. What crosses the resolutions is a map of one
    channel. With octave=1 this is the plain layer's function.

    Args:
        mode: 'layer' (LayerNormalization: mean and variance), 'rms' (RMSNormalization: mean square), or 'unit'
            (UnitNormalization: sum of squares, no weights; ``epsilon`` bounds the norm from below).
        epsilon: added to the variance or mean square.
        center, scale: whether there is a shift (beta) and a gain (gamma) for each channel.
        octave: factor between the resolutions.
        data_format: 'channels_last' or 'channels_first'; None is Keras' default.
        causal: of signals, as in `OctaveConv1D`.
        gamma_initializer, beta_initializer, gamma_regularizer, beta_regularizer, gamma_constraint, beta_constraint:
            as in ``keras.layers.LayerNormalization``.

    Input: ``[high, low]``, maps of any rank, or (batch, channels) vectors with octave=1. Output: the same shapes.

    Raises:
        ValueError: unknown ``mode``, one tensor in place of a pair, or maps whose sizes do not fit ``octave``.
    """

    def __init__(self, mode: str = "layer", *args: Any, causal: bool = False, **keywords: Any):
        if mode not in MODES:
            raise ValueError(f"`mode` must be one of {', '.join(MODES)}, received: {mode!r}")
        super().__init__(*args, **keywords)
        self.mode, self.causal = mode, causal

    def call(self, inputs: Maps) -> list[Tensor]:
        parts: Sequence[Tensor] = self._inputs(inputs)
        count = 1 if self.mode == "unit" else sum(self.widths)
        if self.mode == "layer":
            parts = [part - mean for part, mean in zip(parts, self._shared(parts, count), strict=True)]
        squares = self._shared([ops.square(part) for part in parts], count)
        if self.mode == "unit":
            inverses = [ops.minimum(ops.rsqrt(total), 1.0 / self.epsilon) for total in squares]
        else:
            inverses = [ops.rsqrt(mean + self.epsilon) for mean in squares]
        return self._outputs(parts, inverses)

    def _shared(self, parts: Iterable[Tensor], count: int) -> tuple[Tensor, Tensor]:
        """Sums over all channels divided by ``count``, at both resolutions: maps of one channel."""
        high, low = (ops.sum(part, axis=self._axis(len(part.shape)), keepdims=True) / count for part in parts)
        pooled = spatial.pool_octave(high, self.octave, self.data_format, self.causal)
        return spatial.add_upsampled(high, low, self.octave, self.data_format), pooled + low

    def get_config(self) -> dict[str, Any]:
        causal = {"causal": True} if self.causal else {}
        return {**super().get_config(), "mode": self.mode, **causal}


@keras.saving.register_keras_serializable(package="octconvert")
class OctaveGroupNormalization(_PairNormalization):
    """Normalise groups of channels over all positions, where a group has channels in both maps.

    The mean of a group is the mean of its channels' means, each over the positions of its own map; the variance
    likewise. With octave=1 this is the plain layer's function.

    Args:
        high_channels, low_channels: how many channels of each map belong to the first group, the second ...
        epsilon, center, scale, gamma_*, beta_*: as in ``keras.layers.GroupNormalization``.
        octave, data_format: as in `OctaveConv2D`.

    Input: ``[high, low]``, maps of any rank, or (batch, channels) vectors with octave=1. Output: the same shapes.

    Raises:
        ValueError: numbers of channels that do not add up to those of the maps.
    """

    def __init__(self, high_channels: Iterable[int], low_channels: Iterable[int], *args: Any, **keywords: Any):
        super().__init__(*args, **keywords)
        self.high_channels, self.low_channels = [int(n) for n in high_channels], [int(n) for n in low_channels]
        if len(self.high_channels) != len(self.low_channels):
            raise ValueError(f"layer '{self.name}': `high_channels` and `low_channels` differ in length")

    def build(self, input_shape: Shapes) -> None:
        super().build(input_shape)
        expected = (sum(self.high_channels), sum(self.low_channels))
        if self.widths != expected:
            raise ValueError(f"layer '{self.name}': its groups have {expected} channels, its inputs {self.widths}")

    def call(self, inputs: Maps) -> list[Tensor]:
        parts: Sequence[Tensor] = self._inputs(inputs)
        parts = [part - mean for part, mean in zip(parts, self._group_means(parts), strict=True)]
        variances = self._group_means([ops.square(part) for part in parts])
        return self._outputs(parts, [ops.rsqrt(variance + self.epsilon) for variance in variances])

    def _group_means(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """The mean of each channel's group, shaped to join the part."""
        sizes = np.add(self.high_channels, self.low_channels)
        members = [_membership(counts) for counts in (self.high_channels, self.low_channels)]
        means = sum(
            ops.matmul(self._channel_means(part), ops.cast(member / sizes, part.dtype))
            for part, member in zip(parts, members, strict=True)
        )
        spread = []
        for part, member in zip(parts, members, strict=True):
            shape = [-1] + [1] * (len(part.shape) - 1)
            shape[self._axis(len(part.shape))] = part.shape[self._axis(len(part.shape))]
            spread.append(ops.reshape(ops.matmul(means, ops.cast(member.T, part.dtype)), shape))
        return spread

    def _channel_means(self, part: Tensor) -> Tensor:
        if len(part.shape) == 2:
            return part
        return ops.mean(part, axis=spatial.spatial_axes(self.data_format, spatial.rank_of(part)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "high_channels": self.high_channels, "low_channels": self.low_channels}


def _membership(counts: Sequence[int]) -> np.ndarray:
    """(channels, groups) array: 1 where a channel belongs to a group."""
    groups = np.repeat(np.arange(len(counts)), counts)
    return (groups[:, None] == np.arange(len(counts))).astype("float32")
