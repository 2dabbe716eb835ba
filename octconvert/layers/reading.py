"""What octave layers read - one tensor, a pair or a low map - and clear errors about that and about their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import backend

from octconvert.layers.spatial import channel_axis, spatial_axes
from octconvert.layers.tensors import Maps, Tensor
from octconvert.octave.geometry import Octave, Padding, Shape, Size, ceil_div, factors, normal_octave
from octconvert.octave.split import low_channels


def check_octave(octave: int | Sequence[int], rank: int = 2) -> Octave:
    """Octave must be a power of two (1 means: no change of resolution), or one for each spatial axis."""
    values = (octave,) if isinstance(octave, int) else tuple(octave) if isinstance(octave, (list, tuple)) else ()
    are_powers = all(isinstance(each, int) and each > 0 and not each & (each - 1) for each in values)
    if not are_powers or len(values) not in (1, rank):
        many = f", or {rank} of them" if rank > 1 else ""
        raise ValueError(f"`octave` must be a power of two (1, 2, 4 ...){many}, received: {octave!r}")
    return normal_octave(values)


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


def check_pair_shapes(
    name: str, high: Shape | None, low: Shape | None, octave: Octave, data_format: str, rank: int = 2
) -> None:
    """Raise ValueError unless ``high`` and ``low`` have this rank, channels, and sizes that fit ``octave``."""
    axes, channels = spatial_axes(data_format, rank), channel_axis(data_format, rank)
    for label, shape in (("high", high), ("low", low)):
        if shape is None:
            continue
        if len(shape) != rank + 2:
            raise ValueError(f"layer '{name}': the {label} input must be {rank + 2}-D, received shape {tuple(shape)}")
        if shape[channels] is None:
            raise ValueError(f"layer '{name}': the channel dimension of the {label} input is unknown: {tuple(shape)}")
    if high is not None and low is not None:
        _check_cells(name, tuple(high[axis] for axis in axes), tuple(low[axis] for axis in axes), octave)


def _check_cells(name: str, size: Shape, cells: Shape, octave: Octave) -> None:
    """Raise ValueError unless a low map of ``cells`` along its axes belongs to a map of ``size``."""
    blocks = factors(octave, len(size))
    expected = tuple(
        None if length is None else ceil_div(length, block) for length, block in zip(size, blocks, strict=True)
    )
    if any(None not in pair and pair[0] != pair[1] for pair in zip(expected, cells, strict=True)):
        raise ValueError(
            f"layer '{name}': a high map of {size} with octave={octave} needs a low map of {expected}, received {cells}"
        )


class SizeTensor(keras.KerasTensor):
    """The symbolic output of an `octconvert.layers.OctaveSize`: shapes that follow from its value stay known.

    Args:
        size: along each axis, (rows, columns) for images; None where open.
    """

    def __init__(self, size: Shape):
        super().__init__((len(size),), dtype="int32")
        self.size = size


def held_size(tensor: keras.KerasTensor) -> Shape | None:
    """The size that a symbolic tensor holds, None where open; None where it is no tensor of one."""
    return tensor.size if isinstance(tensor, SizeTensor) else None


class LowInput:
    """What a layer reads whose input is the low map of a tensor that is whole-low.

    Where rows and columns are open, a second input is the output of an `octconvert.layers.OctaveSize`.

    Args:
        name: the layer's, for messages.
        whole_low: whether it is; else the only input is a high map.
        high_size: of the map that the low map stands in for, (rows, columns) for images; None, for all or for one of
            the axes: ``octave`` times the low map's, or what the second input says.
    """

    def __init__(
        self,
        name: str,
        whole_low: bool,
        high_size: Sequence[int | None] | None,
        octave: Octave,
        data_format: str,
        rank: int = 2,
    ):
        if high_size is not None and not whole_low:
            raise ValueError(f"layer '{name}': `high_size` belongs to `whole_low=True`")
        self.name, self.octave, self.axes = name, octave, spatial_axes(data_format, rank)
        self.whole_low = bool(whole_low)
        self.high_size: Shape | None = None
        if high_size is not None and any(length is not None for length in high_size):
            by_axis([1 if length is None else length for length in high_size], "high_size", rank)
            self.high_size = tuple(high_size)

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

    def size_of(self, cells: Sequence[Size], run_size: Any = None) -> tuple[Size, ...]:
        """Of the map that a low map of ``cells`` stands in for; ``run_size``: the second input."""
        nothing = (None,) * len(cells)
        if isinstance(run_size, keras.KerasTensor):
            run_size = held_size(run_size) or nothing
        known = nothing if self.high_size is None else self.high_size
        blocks = factors(self.octave, len(cells))
        times = [None if count is None else count * block for count, block in zip(cells, blocks, strict=True)]
        return tuple(
            (times[axis] if run_size is None else run_size[axis]) if length is None else length
            for axis, length in enumerate(known)
        )


def _rank(tensor_or_shape: Any) -> int:
    return len(tensor_or_shape if isinstance(tensor_or_shape, tuple) else tensor_or_shape.shape)


def standard_data_format(data_format: str | None) -> str:
    """Keras' own default where None."""
    data_format = data_format or backend.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"`data_format` must be 'channels_last' or 'channels_first', received: {data_format!r}")
    return data_format


def by_axis(value: int | Sequence[int], name: str, rank: int = 2) -> tuple[int, ...]:
    """One number for each spatial axis, from an integer for all of them or a sequence."""
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank or any(not isinstance(v, int) or v < 1 for v in values):
        many = {1: "", 2: " or two of them", 3: " or three of them"}[rank]
        raise ValueError(f"`{name}` must be a positive integer{many}, received: {value!r}")
    return values


_ZEROS = {1: "((before, after),)", 2: "((top, bottom), (left, right))", 3: "three of (before, after)"}


def standard_padding(padding: Padding, rank: int = 2) -> Padding:
    """'same', 'valid' or (before, after) for each spatial axis."""
    message = f"`padding` must be 'same', 'valid' or {_ZEROS[rank]}, got {padding!r}"
    if isinstance(padding, str):
        padding = padding.lower()
        if padding not in ("same", "valid"):
            raise ValueError(message)
        return padding
    try:
        pads = tuple((int(before), int(after)) for before, after in padding)
    except (TypeError, ValueError):
        raise ValueError(message) from None
    if len(pads) != rank:
        raise ValueError(message)
    return pads


def causal_padding(kernel_size: Sequence[int], dilation_rate: Sequence[int]) -> Padding:
    """What Keras' padding 'causal' is in other words: all zeros in front; 'valid' where there are none."""
    before = (kernel_size[0] - 1) * dilation_rate[0]
    return ((before, 0),) if before else "valid"


def check_causal(name: str, causal: bool, rank: int) -> bool:
    """Causal cells are those of signals; ValueError for maps of another rank."""
    if causal and rank != 1:
        raise ValueError(f"layer '{name}': causal cells are for 1-D layers, this is a {rank}-D one")
    return bool(causal)


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
