"""What octave layers read - one tensor, a pair or a low map - and clear errors about that and about their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import backend

from octconvert.layers.spatial import channel_axis, spatial_axes
from octconvert.layers.tensors import Maps, Tensor
from octconvert.octave.geometry import Padding, Shape, Size, ceil_div
from octconvert.octave.split import low_channels


def check_octave(octave: int) -> int:
    """Octave must be a power of two (1 means: no change of resolution)."""
    if not isinstance(octave, int) or octave < 1 or octave & (octave - 1):
        raise ValueError(f"`octave` must be a power of two (1, 2, 4 ...), received: {octave!r}")
    return octave


def split_inputs(inputs: Maps, name: str) -> tuple[Any, Any | None]:
    """(high, low) from ``[high, low]``; (tensor, None) from one tensor or a list of one. ``name`` is the layer's.

    Raises:
        ValueError: there are none, or more than two.
    """
    if not isinstance(inputs, (list, tuple)):
        return inputs, None
    if len(inputs) == 1:
        return inputs[0], None
    if len(inputs) == 2:
        return inputs[0], inputs[1]
    raise ValueError(f"layer '{name}': expected one tensor or a pair [high, low], received {len(inputs)} tensors")


def split_pair(inputs: Maps, name: str) -> tuple[Tensor, Tensor]:
    """(high, low) from ``[high, low]``, for layers that take nothing else."""
    high, low = split_inputs(inputs, name)
    if low is None:
        raise ValueError(f"layer '{name}': expected a pair [high, low], received one tensor")
    return high, low


def split_shapes(shapes: Any, name: str) -> tuple[Any, Any | None]:
    """The same for shapes: ((...), None) or ((...), (...))."""
    if shapes and isinstance(shapes[0], (list, tuple)):
        return split_inputs([tuple(shape) for shape in shapes], name)
    return tuple(shapes), None


def check_pair_shapes(name: str, high: Shape | None, low: Shape | None, octave: int, data_format: str) -> None:
    """Raise ValueError unless ``high`` and ``low`` are 4-D, have channels, and sizes that fit ``octave``."""
    axes, channels = spatial_axes(data_format), channel_axis(data_format)
    for label, shape in (("high", high), ("low", low)):
        if shape is None:
            continue
        if len(shape) != 4:
            raise ValueError(f"layer '{name}': the {label} input must be 4-D, received shape {tuple(shape)}")
        if shape[channels] is None:
            raise ValueError(f"layer '{name}': the channel dimension of the {label} input is unknown: {tuple(shape)}")
    if high is not None and low is not None:
        _check_cells(name, tuple(high[axis] for axis in axes), tuple(low[axis] for axis in axes), octave)


def _check_cells(name: str, size: Shape, cells: Shape, octave: int) -> None:
    """Raise ValueError unless a low map of ``cells`` (rows, columns) belongs to a map of ``size`` (rows, columns)."""
    expected = tuple(None if length is None else ceil_div(length, octave) for length in size)
    if any(None not in pair and pair[0] != pair[1] for pair in zip(expected, cells, strict=True)):
        raise ValueError(
            f"layer '{name}': a high map of {size} with octave={octave} needs a low map of {expected}, received {cells}"
        )


class SizeTensor(keras.KerasTensor):
    """The symbolic output of an `octconvert.layers.OctaveSize`: shapes that follow from its value stay known.

    Args:
        size: (rows, columns), None where open.
    """

    def __init__(self, size: tuple[int | None, int | None]):
        super().__init__((2,), dtype="int32")
        self.size = size


def held_size(tensor: keras.KerasTensor) -> tuple[int | None, int | None] | None:
    """The (rows, columns) that a symbolic tensor holds, None where open; None where it is no tensor of them."""
    return tensor.size if isinstance(tensor, SizeTensor) else None


class LowInput:
    """What a layer reads whose input is the low map of a tensor that is whole-low.

    Where rows and columns are open, a second input is the output of an `octconvert.layers.OctaveSize`.

    Args:
        name: the layer's, for messages.
        whole_low: whether it is; else the only input is a high map.
        high_size: (rows, columns) of the map that the low map stands in for; None, for both or for one of them:
            ``octave`` times the low map's, or what the second input says.
    """

    def __init__(
        self, name: str, whole_low: bool, high_size: Sequence[int | None] | None, octave: int, data_format: str
    ):
        if high_size is not None and not whole_low:
            raise ValueError(f"layer '{name}': `high_size` belongs to `whole_low=True`")
        self.name, self.octave, self.axes = name, octave, spatial_axes(data_format)
        self.whole_low = bool(whole_low)
        self.high_size: tuple[int | None, int | None] | None = None
        if high_size is not None and any(length is not None for length in high_size):
            pair_of([1 if length is None else length for length in high_size], "high_size")
            self.high_size = (high_size[0], high_size[1])

    def maps(self, high: Any, low: Any) -> tuple[Any, Any]:
        """(high, low), of which one may be None, from what `split_inputs` or `split_shapes` returned."""
        if not self.whole_low:
            return high, low
        if low is not None and _rank(low) != 1:
            raise ValueError(f"layer '{self.name}': `whole_low` reads one low map (and its size), received two maps")
        return None, high

    def check(self, low: Shape) -> None:
        """Raise ValueError unless a low map of this shape fits ``high_size``."""
        if self.high_size is not None:
            _check_cells(self.name, self.high_size, tuple(low[axis] for axis in self.axes), self.octave)

    def size_of(self, cells: tuple[Size, Size], run_size: Any = None) -> tuple[Size, Size]:
        """(rows, columns) of the map that a low map of ``cells`` stands in for; ``run_size``: the second input."""
        if isinstance(run_size, keras.KerasTensor):
            run_size = held_size(run_size) or (None, None)
        known = (None, None) if self.high_size is None else self.high_size
        times = [None if count is None else count * self.octave for count in cells]
        rows, columns = (
            (times[axis] if run_size is None else run_size[axis]) if length is None else length
            for axis, length in enumerate(known)
        )
        return rows, columns


def _rank(tensor_or_shape: Any) -> int:
    return len(tensor_or_shape if isinstance(tensor_or_shape, tuple) else tensor_or_shape.shape)


def standard_data_format(data_format: str | None) -> str:
    """Keras' own default where None."""
    data_format = data_format or backend.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"`data_format` must be 'channels_last' or 'channels_first', received: {data_format!r}")
    return data_format


def pair_of(value: int | Sequence[int], name: str) -> tuple[int, int]:
    """(rows, columns) from an integer or a sequence of two."""
    values = (value, value) if isinstance(value, int) else tuple(value)
    if len(values) != 2 or any(not isinstance(v, int) or v < 1 for v in values):
        raise ValueError(f"`{name}` must be a positive integer or two of them, received: {value!r}")
    return values[0], values[1]


def standard_padding(padding: Padding) -> Padding:
    """'same', 'valid' or ((top, bottom), (left, right))."""
    if isinstance(padding, str):
        padding = padding.lower()
        if padding not in ("same", "valid"):
            raise ValueError(f"`padding` must be 'same', 'valid' or ((top, bottom), (left, right)), got {padding!r}")
        return padding
    try:
        rows, columns = ((int(before), int(after)) for before, after in padding)
        return rows, columns
    except (TypeError, ValueError):
        message = f"`padding` must be 'same', 'valid' or ((top, bottom), (left, right)), got {padding!r}"
        raise ValueError(message) from None


def divide_filters(name: str, filters: int, ratio_out: float, groups: int) -> tuple[int, int]:
    """(high, low) filters of an octave convolution; ValueError where the arguments make no sense."""
    if not isinstance(filters, int) or filters < 1:
        raise ValueError(f"layer '{name}': `filters` must be a positive integer, received: {filters!r}")
    if not 0.0 <= ratio_out <= 1.0:
        raise ValueError(f"layer '{name}': `ratio_out` must be between 0 and 1, received: {ratio_out!r}")
    if not isinstance(groups, int) or groups < 1:
        raise ValueError(f"layer '{name}': `groups` must be a positive integer, received: {groups!r}")
    low = low_channels(ratio_out, filters)
    for label, count in (("high", filters - low), ("low", low)):
        if count % groups:
            raise ValueError(f"layer '{name}': {count} {label} filters can not be split in {groups} groups")
    return filters - low, low
