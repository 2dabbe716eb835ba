"""Calibration data of any kind -> `Samples`: arrays that fit the model's inputs, checked, in bounded memory.

Every kind of data becomes a `_Source`: chunks of a few samples. `_Intake` prepares and checks them, `_Store` keeps
them: in memory, or in temporary files once they are large.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import re
import shutil
import sys
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from octconvert.cost import ASSUMED_SIZES
from octconvert.errors import InputError, OctconvertError, UsageError
from octconvert.graph import BOUNDARY, CallGraph, Shape, build_graph, functional_of, with_known_sizes
from octconvert.io.custom import parse_custom_object
from octconvert.io.text import one_line
from octconvert.report.words import plural

LARGE = 256 * 2**20
"""Bytes above which samples are kept in temporary files."""
CHUNK = 32
"""Samples that are read and prepared at a time."""
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
INPUT_NAMES = ("x", "images", "inputs", "X", "x_train", "x_test", "image", "input", "data")
"""Names of the array that holds the samples of a model with one input; the first that is there counts."""
LABEL_NAMES = ("y", "labels", "Y", "y_train", "y_test", "label", "target", "targets")
RAW_NOTE = "the images are 0..255 as read; --preprocess names the scaling the model was trained with"

_SCALING = {"Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Lambda"}
_EMPTY_BATCHES = 1000  # so many in a row, and more will not bring anything either

Chunk = tuple[list[np.ndarray], np.ndarray | None]
"""Arrays, one for each input, first axis = sample; their labels."""
Function = Callable[[np.ndarray], Any]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs for a model, to be read in any order.

    Attributes:
        arrays: one for each model input, in the flat order of ``model.inputs``; first axis = sample; float32, or the
            input's own dtype where that is an integer or bool; read-only; memory maps where they are large.
        labels: first axis = sample; None where the data have none that make one array of numbers.
        origin: what to call them in a report: ``calib/ (128 images)``.
        notes: what the user should know, one line each.
    """

    arrays: tuple[np.ndarray, ...]
    labels: np.ndarray | None
    origin: str
    notes: tuple[str, ...] = ()
    _folders: tuple[_Folder | None, ...] = field(default=(), repr=False)

    @property
    def count(self) -> int:
        return len(self.arrays[0])

    def batches(self, size: int, indices: Iterable[int] | None = None) -> Iterator[list[np.ndarray]]:
        """Batches of ``size`` samples (the last may be smaller), one array for each input; all of them are copies.

        ``indices`` chooses the samples and their order.
        """
        if size < 1:
            raise UsageError(f"a batch takes at least 1 sample, received {size}")
        rows = self._rows(indices)
        # Indexing with numbers copies, where a slice would be a view into the file.
        return ([np.asarray(array)[part] for array in self.arrays] for part in _parts(rows, size))

    def subset(self, indices: Iterable[int]) -> Samples:
        """Copies of the samples ``indices``, in that order.

        Raises:
            InputError: there are none, or no room for them.
        """
        rows = self._rows(indices)
        if not len(rows):
            raise InputError(f"{self.origin}: a subset without samples")
        with _Store(len(rows), self.origin) as inputs, _Store(len(rows), self.origin) as labels:
            for part in _parts(rows, CHUNK):
                inputs.add([array[part] for array in self.arrays])
                if self.labels is not None:
                    labels.add([self.labels[part]])
            origin = f"{self.origin}, {len(rows):,} of them"
            return _samples(inputs, labels, origin, self.notes)

    def split(self, share: float, seed: int) -> tuple[Samples, Samples]:
        """(samples to fit on, samples held out): ``share`` of all are held out, at least one; chosen by ``seed``.

        Raises:
            UsageError: ``share`` is not between 0 and 1.
            InputError: there are fewer than two samples.
        """
        if not 0 < share < 1:
            raise UsageError(f"the share to hold out is above 0 and below 1, received {share!r}")
        if self.count < 2:
            raise InputError(f"{self.origin}: one sample can not be split; give two or more")
        out = min(max(1, round(share * self.count)), self.count - 1)
        order = np.random.default_rng(seed).permutation(self.count)
        return self.subset(np.sort(order[out:])), self.subset(np.sort(order[:out]))

    def _rows(self, indices) -> np.ndarray:
        rows = np.arange(self.count)
        if indices is None:
            return rows
        chosen = np.asarray(list(indices))
        return rows[chosen] if len(chosen) else rows[:0]


def read_samples(
    data,
    model,
    *,
    preprocess: str | Function | None = None,
    limit: int = 2048,
    seed: int = 0,
    where: str = "calibration",
    need_labels: bool = False,
) -> Samples:
    """Read data for a model's inputs.

    Args:
        data: the path of an .npz or .npy file, of an image, or of a directory of images (searched with its
            subdirectories; if all images lie in two or more subdirectories, those are the classes); or an array, a
            tuple or list of arrays for a model with several inputs, a dict by input name, (x, y); or anything that
            gives samples or batches: `tf.data.Dataset`, `keras.utils.PyDataset`, iterables, generators. Images from
            files are scaled and cropped around their centre to the model's size; arrays must have it.
        model: a Functional or Sequential Keras model.
        preprocess: what is done to the images (to every input where the model takes none): a module or model of
            keras.applications (its ``preprocess_input``); ``scale,offset`` for x * scale + offset (fractions such as
            1/255 are known); ``module:function``, ``file.py:function`` or a function: float32 batch -> batch.
        limit: samples taken at most: of files, directories and arrays a choice by ``seed``, of all else the first.
        seed: of that choice.
        where: what errors call ``data`` that has no path.
        need_labels: whether data without labels are refused.

    Raises:
        InputError: the data can not be read, do not fit the model, hold nan or infinity, or nothing at all.
        UsageError: ``preprocess`` or ``limit`` makes no sense.
    """
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or limit < 1:
        raise UsageError(f"limit takes a positive number of samples, received {limit!r}")
    graph = build_graph(model)
    inputs = _inputs(graph)
    function = _function(preprocess, graph.data_format)
    source = _source(data, graph, inputs, _Choice(int(limit), seed), where)
    with _Intake(source, inputs, function) as intake:
        for arrays, labels in source.chunks:
            intake.take(arrays, labels)
        raw = preprocess is None and intake.seen_bytes and not _scales(graph)
        samples = intake.samples((RAW_NOTE,) if raw else ())
    if need_labels and samples.labels is None:
        raise InputError(f"{source.label}: holds no labels (one array of numbers), which are needed here")
    return samples


# ---- what the model takes


@dataclass(frozen=True)
class _Input:
    """What one input of the model takes.

    Attributes:
        names: what it may be called in a dict or file.
        shape: of one sample.
        dtype: of the arrays it is given.
        channels: axis of the channels in a sample; None for what is no image.
    """

    names: tuple[str, ...]
    shape: Shape
    dtype: np.dtype
    channels: int | None

    @property
    def grey_shape(self) -> Shape | None:
        """Of a sample without its channel axis, where it has one channel."""
        if self.channels is None or self.shape[self.channels] != 1:
            return None
        return self.shape[: self.channels] + self.shape[self.channels + 1 :]

    def fits(self, shape: Shape) -> bool:
        """Whether a sample may have this shape."""
        return _fits(self.shape, shape)


def _fits(expected: Shape, shape: Shape) -> bool:
    return len(expected) == len(shape) and all(b and a in (None, b) for a, b in zip(expected, shape, strict=True))


def _inputs(graph: CallGraph) -> list[_Input]:
    functional = functional_of(graph.model)
    assert functional is not None
    struct = functional._inputs_struct
    keys = {id(tensor): key for key, tensor in struct.items()} if isinstance(struct, dict) else {}
    found = []
    for tensor in functional.inputs:
        name, dtype, shape = tensor.name, str(tensor.dtype), tuple(tensor.shape[1:])
        if dtype == "string":
            raise InputError(f"model '{graph.model.name}': input '{name}' takes strings, which are not read")
        own = np.dtype(dtype if "int" in dtype or dtype == "bool" else "float32")
        channels = graph.channel_axis - 1 if len(shape) == 3 else None
        found.append(_Input((name, keys.get(id(tensor), name)), shape, own, channels))
    return found


def _scales(graph: CallGraph) -> bool:
    """Whether the model scales its input itself, before the first layer with weights."""
    left, seen = list(graph.inputs), set(graph.inputs)
    while left:
        for call in graph.consumers.get(left.pop(), ()):
            if call.class_name in _SCALING:
                return True
            if call.kind == BOUNDARY or not getattr(call.operation, "weights", None):
                left += [number for number in call.outputs if number not in seen]
                seen.update(call.outputs)
    return False


# ---- preprocess


def _function(preprocess, data_format: str) -> Function | None:
    if preprocess is None or callable(preprocess):
        return preprocess
    if not isinstance(preprocess, str):
        raise UsageError(f"preprocess takes a name, scale,offset, module:function or a function; not {preprocess!r}")
    if ":" in preprocess:
        return _own_function(preprocess)
    numbers = [_number(text) for text in preprocess.split(",")]
    if numbers[0] is None and len(numbers) == 1:
        return partial(_application(preprocess), data_format=data_format)
    scale, offset = numbers if len(numbers) == 2 else (numbers[0], 0.0 if len(numbers) == 1 else None)
    if scale is None or offset is None or not scale:
        raise UsageError(f"preprocess: '{preprocess}' is no scale,offset; write for example 1/127.5,-1")
    return lambda batch: batch * scale + offset


def _number(text: str) -> float | None:
    """'0.5', '-1' or '1/255'."""
    over, _, under = text.partition("/")
    try:
        value = float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError):
        return None
    return value if math.isfinite(value) else None


def _own_function(spec: str) -> Function:
    try:
        function = parse_custom_object(spec)[1]
    except UsageError as error:
        raise UsageError(f"preprocess: {error}") from None
    if not callable(function):
        raise UsageError(f"preprocess: '{spec}' is no function")
    return function


def _application(name: str) -> Callable[..., Any]:
    """``preprocess_input`` for the name of a module or model of keras.applications, however it is written."""
    known: dict[str, Callable[..., Any]] = {}
    for key, item in vars(keras.applications).items():
        module: Any = item if inspect.ismodule(item) else sys.modules.get(getattr(item, "__module__", ""))
        if hasattr(module, "preprocess_input"):
            known[_plain(key)] = module.preprocess_input
    if _plain(name) not in known:
        some = "resnet50, mobilenet_v2, efficientnet, vgg16, ..."
        raise UsageError(
            f"preprocess: keras.applications has no '{name}' (it has {some}); or write scale,offset or file.py:function"
        )
    return known[_plain(name)]


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).lower()


# ---- intake: prepare, check, store


@dataclass(frozen=True, eq=False)
class _Source:
    """Data of any kind as chunks.

    Attributes:
        label: the file or argument, for errors.
        name: for reports.
        noun: what a sample is called in them.
        chunks: at most ``most`` samples in all, none of the chunks empty.
        total: samples there were to choose from, where known.
        called: number of a sample read -> its name for the user.
        are_images: whether the values are those of image files, 0..255.
    """

    label: str
    name: str
    noun: str
    chunks: Iterable[Chunk]
    most: int
    total: int | None
    called: Callable[[int], str]
    are_images: bool = False


class _Intake(contextlib.ExitStack):
    """Prepares and checks chunks and stores them."""

    def __init__(self, source: _Source, inputs: list[_Input], function: Function | None):
        super().__init__()
        self.source, self.inputs, self.function = source, inputs, function
        self.store = self.enter_context(_Store(source.most, source.label))
        self.label_store = self.enter_context(_Store(source.most, source.label))
        self.has_labels = True
        self.seen_bytes = False  # whether there were bytes above 1 among the images
        self.bad: list[int] = []  # numbers of the samples with nan or infinity

    def take(self, arrays: list[np.ndarray], labels: np.ndarray | None) -> None:
        before = self.store.count
        prepared = [self._prepared(spec, array) for spec, array in zip(self.inputs, arrays, strict=True)]
        finite = np.ones(len(arrays[0]), bool)
        for array in prepared:
            finite &= np.isfinite(array).all(axis=tuple(range(1, array.ndim)))
        self.bad += (before + np.flatnonzero(~finite)).tolist()
        if not self.store.accepts(prepared):
            sizes = ", ".join(str(array.shape[1:]) for array in prepared)
            self._refuse(f"holds samples of different sizes: after {self.store.told}, {sizes}")
        self.store.add(prepared)
        # Labels that come only now and then, or in other sizes, are of no use to anybody.
        self.has_labels = self.has_labels and labels is not None and self.label_store.accepts([labels])
        if self.has_labels and labels is not None:
            self.label_store.add([labels])

    def samples(self, notes: tuple[str, ...]) -> Samples:
        count, source = self.store.count, self.source
        if not count:
            self._refuse("holds no samples")
        if self.bad:
            after = " after preprocess" if self.function else ""
            first = source.called(self.bad[0])
            self._refuse(f"{len(self.bad):,} of {plural(count, 'sample')} hold nan or infinity{after} (first: {first})")
        of_all = source.total is not None and source.total != count
        counted = f"{count:,} of {plural(source.total or 0, source.noun)}" if of_all else plural(count, source.noun)
        origin = f"{source.name} ({counted})"
        return _samples(self.store, self.label_store if self.has_labels else None, origin, notes)

    def _prepared(self, spec: _Input, array: np.ndarray) -> np.ndarray:
        grey = spec.grey_shape
        if grey is not None and not spec.fits(array.shape[1:]) and _fits(grey, array.shape[1:]):
            array = np.expand_dims(array, 1 + (spec.channels or 0))
        if spec.channels is not None and (self.source.are_images or array.dtype == np.uint8):
            self.seen_bytes = self.seen_bytes or bool(array.max(initial=0) > 1)
        if self.function is not None and (spec.channels is not None or all(i.channels is None for i in self.inputs)):
            array = self._preprocessed(self.function, array)
        if not spec.fits(array.shape[1:]):
            self._refuse(_misfit(spec, array))
        return self._cast(spec, array)

    def _preprocessed(self, function: Function, array: np.ndarray) -> np.ndarray:
        try:
            result = np.asarray(function(array.astype(np.float32)))  # a copy: it may well work in place
        except Exception as error:  # whatever the user's function raises
            raise UsageError(f"preprocess failed on a batch of shape {array.shape}: {one_line(error)}") from error
        if not _is_numeric(result.dtype) or result.shape[:1] != array.shape[:1]:
            told = f"{result.dtype} of shape {result.shape}"
            raise UsageError(f"preprocess: expected a batch of {plural(len(array), 'sample')}, received {told}")
        return result

    def _cast(self, spec: _Input, array: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            result = array.astype(spec.dtype)
        if spec.dtype.kind in "iub" and not np.array_equal(result, array):
            self._refuse(f"input '{spec.names[0]}' takes {spec.dtype}; some of the values are no such numbers")
        return result

    def _refuse(self, reason: str):
        raise InputError(f"{self.source.label}: {reason}")


def _misfit(spec: _Input, array: np.ndarray) -> str:
    shape, axis, name = array.shape[1:], spec.channels, spec.names[0]
    told = f"input '{name}' takes samples of shape {spec.shape}, received {shape}"
    if len(shape) == len(spec.shape) - 1:
        return f"{told}; the first axis of an array is the sample"
    if axis is None or len(shape) != 3:
        return told
    any_channels = (*spec.shape[:axis], None, *spec.shape[axis + 1 :])
    if _fits(any_channels, shape):
        return f"input '{name}' takes {spec.shape[axis]} channels, received {shape[axis]} (samples of shape {shape})"
    if spec.fits((shape[2], *shape[:2]) if axis == 0 else (*shape[1:], shape[0])):
        return f"{told}; the model is channels_{'first' if axis == 0 else 'last'}"
    return told


# ---- store


class _Folder:
    """A temporary directory that goes when nothing refers to this object any more, at exit at the latest."""

    def __init__(self):
        self.path = Path(tempfile.mkdtemp(prefix="octconvert-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class _Store:
    """Arrays that grow by samples: in memory, from `LARGE` bytes on in files.

    The files are written, not mapped, as long as they grow: a full disk is an error then, and no crash.
    """

    def __init__(self, most: int, label: str):
        self.most, self.label, self.count = most, label, 0
        self.kinds: list[tuple[tuple[int, ...], np.dtype]] = []  # of one sample
        self.held: list[np.ndarray] = []
        self.files: list[Any] = []
        self.folder: _Folder | None = None

    def __enter__(self) -> _Store:
        return self

    def __exit__(self, *error) -> None:
        for file in self.files:
            file.close()

    @property
    def told(self) -> str:
        return ", ".join(str(shape) for shape, _ in self.kinds)

    def accepts(self, arrays: list[np.ndarray]) -> bool:
        """Whether they look like those before."""
        return not self.kinds or self.kinds == [(array.shape[1:], array.dtype) for array in arrays]

    def add(self, arrays: list[np.ndarray]) -> None:
        if not self.kinds:
            self.kinds = [(array.shape[1:], array.dtype) for array in arrays]
            each = sum(array.nbytes for array in arrays) // len(arrays[0])
            room = min(self.most, LARGE // max(each, 1))
            self.held = [np.empty((room, *shape), dtype) for shape, dtype in self.kinds]
        count = self.count + len(arrays[0])
        if self.held and count > len(self.held[0]):
            self._spill()
        if self.held:
            for array, new in zip(self.held, arrays, strict=True):
                array[self.count : count] = new
        else:
            self._write(arrays)
        self.count = count

    def finish(self) -> tuple[np.ndarray, ...]:
        """The arrays, read-only; nothing may be added afterwards."""
        if self.held:
            for array in self.held:
                array.flags.writeable = False
            return tuple(array[: self.count] for array in self.held)
        with self._room():
            for file in self.files:
                file.close()
        kinds = enumerate(self.kinds)
        return tuple(np.memmap(self._path(n), dtype, "r", shape=(self.count, *shape)) for n, (shape, dtype) in kinds)

    def _spill(self) -> None:
        held, self.held = [array[: self.count] for array in self.held], []
        with self._room():
            self.folder = _Folder()
            self.files = [open(self._path(number), "wb") for number in range(len(held))]  # noqa: SIM115
        self._write(held)

    def _write(self, arrays: list[np.ndarray]) -> None:
        with self._room():
            for file, array in zip(self.files, arrays, strict=True):
                file.write(np.ascontiguousarray(array))

    def _path(self, number: int) -> Path:
        assert self.folder is not None
        return self.folder.path / f"{number}.raw"

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"temporary files in {tempfile.gettempdir()} (TMPDIR) can not be written: {one_line(error)}"
            raise InputError(f"{self.label}: {reason}") from error


def _samples(inputs: _Store, labels: _Store | None, origin: str, notes: tuple[str, ...]) -> Samples:
    if labels is None or not labels.count:
        return Samples(inputs.finish(), None, origin, notes, (inputs.folder,))
    return Samples(inputs.finish(), labels.finish()[0], origin, notes, (inputs.folder, labels.folder))


# ---- sources


@dataclass(frozen=True)
class _Choice:
    """At most ``limit`` samples."""

    limit: int
    seed: int

    def rows(self, total: int) -> np.ndarray:
        """Numbers of the samples to take out of ``total``, ascending."""
        if total <= self.limit:
            return np.arange(total)
        return np.sort(np.random.default_rng(self.seed).choice(total, self.limit, replace=False))


def _parts(rows: Sequence | np.ndarray, size: int) -> list:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _source(data, graph: CallGraph, inputs: list[_Input], choice: _Choice, where: str) -> _Source:
    if isinstance(data, (str, os.PathLike)):
        return _path_source(Path(data), graph, inputs, choice)
    one = len(inputs) == 1
    listed = isinstance(data, list) and not one and len(data) == len(inputs) and all(_is_array(x) for x in data)
    if _is_array(data) or isinstance(data, (Mapping, tuple)) or listed:
        arrays, labels = _taken_apart(data, inputs, where)
        columns = [_column(array) for array in arrays]
        return _column_source(columns, None if labels is None else _column(labels), where, "given data", choice)
    if isinstance(data, Iterable) or (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        chunks = _iterated(data, inputs, choice.limit, where)
        return _Source(where, "given data", "sample", chunks, choice.limit, None, "sample {}".format)
    kinds = "a path, arrays, a dataset or an iterable of samples or batches"
    raise InputError(f"{where}: expected {kinds}, received {type(data).__module__}.{type(data).__name__}")


def _is_array(value) -> bool:
    return hasattr(value, "__array__")


def _is_numeric(dtype: np.dtype) -> bool:
    return np.can_cast(dtype, np.float64, "same_kind") and dtype.kind not in "mM"


def _array(value, label: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except Exception as error:  # lists of different lengths, tensors that are no numbers, ...
        raise InputError(f"{label}: {type(value).__name__} can not be read as an array: {one_line(error)}") from error
    _check_numeric(array.dtype, label)
    return array


def _check_numeric(dtype: np.dtype, label: str) -> None:
    if dtype.hasobject:
        raise InputError(f"{label}: an array of Python objects, which is not read; expected numbers")
    if not _is_numeric(dtype):
        raise InputError(f"{label}: expected numbers, received {dtype}")


def _taken_apart(value, inputs: list[_Input], label: str) -> tuple[list[np.ndarray], np.ndarray | None]:
    """What ``fit`` takes as one element: x, (x, y) or (x, y, weights), x an array, one for each input, or a dict."""
    labels = None
    if _is_x_y(value, len(inputs)):
        value, labels = value[0], value[1] if len(value) > 1 else None
    if isinstance(value, Mapping):
        names, own = _named(list(value), inputs, label)
        labels = value[own] if labels is None and own is not None else labels
        value = [value[name] for name in names]
    elif len(inputs) == 1 and not (isinstance(value, (list, tuple)) and len(value) == 1 and _is_array(value[0])):
        value = [value]
    if not isinstance(value, (list, tuple)) or len(value) != len(inputs):
        names = [spec.names[0] for spec in inputs]
        found = len(value) if isinstance(value, (list, tuple)) else 1
        raise InputError(f"{label}: the model takes {len(inputs)} inputs ({', '.join(names)}), received {found}")
    return [_array(item, label) for item in value], _labels(labels)


def _is_x_y(value, inputs: int) -> bool:
    if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= 3:
        return False
    nested = isinstance(value[0], (list, tuple, Mapping))
    if inputs > 1:
        return nested
    return _is_array(value[0]) or (nested and isinstance(value, tuple))


def _labels(value) -> np.ndarray | None:
    """One array of numbers, or None: calibration does not need labels, so nothing is said about others."""
    if value is None or isinstance(value, Mapping):
        return None
    if isinstance(value, (list, tuple)) and any(_is_array(item) and np.ndim(item) for item in value):
        return None  # of several outputs
    try:
        array = np.asarray(value)
    except Exception:  # labels of different lengths, ragged tensors, ...
        return None
    return array if _is_numeric(array.dtype) else None


def _named(names: list[str], inputs: list[_Input], label: str) -> tuple[list[str], str | None]:
    """Which of the names are the inputs, and which is the labels."""
    own = [next((name for name in spec.names if name in names), None) for spec in inputs]
    possible = [name for name in LABEL_NAMES if name in names and name not in own]
    if len(inputs) == 1 and own[0] is None:
        others = [name for name in names if name not in LABEL_NAMES]
        own = [next((name for name in INPUT_NAMES if name in names), others[0] if len(others) == 1 else None)]
    found = [name for name in own if name is not None]
    if len(found) < len(inputs):
        expected = [spec.names[0] for spec in inputs] + ([*INPUT_NAMES[:3]] if len(inputs) == 1 else [])
        missing = ("none of " if len(inputs) == 1 else "not all of ") + ", ".join(expected)
        raise InputError(f"{label}: has {missing}; it has {', '.join(map(str, names)) or 'no arrays'}")
    twin = re.sub("^x", "y", found[0])  # y_test for x_test
    return found, twin if twin in possible else next(iter(possible), None)


# ---- sources: arrays and files of them


@dataclass(frozen=True, eq=False)
class _Column:
    """An array that may lie in a file: its shape, and what reads some of its rows, chunk by chunk."""

    shape: tuple[int, ...]
    read: Callable[[list[np.ndarray]], Iterator[np.ndarray]]


def _column(array: np.ndarray) -> _Column:
    return _Column(array.shape, lambda parts: (np.asarray(array[rows]) for rows in parts))


def _column_source(columns: list[_Column], labels: _Column | None, label: str, name: str, choice: _Choice) -> _Source:
    if any(not column.shape for column in columns):
        raise InputError(f"{label}: expected arrays whose first axis is the sample, received a single number")
    counts = {column.shape[0] for column in columns}
    if len(counts) > 1:
        told = ", ".join(str(column.shape[0]) for column in columns)
        raise InputError(f"{label}: the inputs have different numbers of samples: {told}")
    total = counts.pop()
    _check_labels(total, labels, label)
    rows = choice.rows(total)
    parts = _parts(rows, CHUNK)
    inputs = zip(*(column.read(parts) for column in columns), strict=True)
    chunks = ((list(part), y) for part, y in zip(inputs, labels.read(parts) if labels else repeat(None), strict=False))
    return _Source(label, name, "sample", chunks, len(rows), total, lambda number: f"sample {rows[number]}")


def _check_labels(count: int, labels: _Column | np.ndarray | None, label: str) -> None:
    if labels is not None and labels.shape[:1] != (count,):
        found = plural(labels.shape[0], "label") if labels.shape else "a single label"
        raise InputError(f"{label}: {plural(count, 'sample')} but {found}")


def _path_source(path: Path, graph: CallGraph, inputs: list[_Input], choice: _Choice) -> _Source:
    if not path.exists():
        raise InputError(f"{path}: no such file or directory")
    if path.is_dir():
        return _image_source(path, _image_files(path), graph, inputs, choice)
    if path.suffix.lower() in IMAGE_ENDINGS:
        return _image_source(path, [path], graph, inputs, choice)
    with _reading(path), open(path, "rb") as file:
        start = file.read(6)
    if start == np.lib.format.MAGIC_PREFIX:
        return _npy_source(path, inputs, choice)
    if start.startswith(b"PK"):
        return _npz_source(path, inputs, choice)
    raise InputError(
        f"{path}: is neither .npz nor .npy, nor an image ({', '.join(IMAGE_ENDINGS)}) or a directory of them"
    )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OctconvertError:
        raise
    except Exception as error:  # damaged files raise almost anything
        raise InputError(f"{path}: can not be read, damaged perhaps: {one_line(error)}") from error


def _npy_source(path: Path, inputs: list[_Input], choice: _Choice) -> _Source:
    if len(inputs) != 1:
        raise InputError(
            f"{path}: holds one array, the model takes {len(inputs)} inputs; give an .npz with all of them"
        )
    with _reading(path), open(path, "rb") as file:
        shape, _, dtype = _header(file)
    _check_numeric(dtype, str(path))
    if 0 in shape or not shape:
        array = np.empty(shape, dtype)  # nothing that could be mapped
    else:
        with _reading(path):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    return _column_source([_column(array)], None, str(path), str(path), choice)


def _npz_source(path: Path, inputs: list[_Input], choice: _Choice) -> _Source:
    with _reading(path), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    found, labels = _named(names, inputs, str(path))
    columns = [_member(path, name) for name in found]
    return _column_source(columns, _member(path, labels) if labels else None, str(path), str(path), choice)


def _member(path: Path, name: str) -> _Column:
    with _reading(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        shape, column_major, dtype = _header(file)
    _check_numeric(dtype, f"{path}: '{name}'")
    if column_major and len(shape) > 1:  # its samples do not lie one after the other
        return _Column(shape, partial(_whole_member, path, name))
    return _Column(shape, partial(_member_rows, path, name))


def _header(file) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether column-major, dtype."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f".npy version {version} holds no plain numbers")


def _whole_member(path: Path, name: str, parts: list[np.ndarray]) -> Iterator[np.ndarray]:
    with _reading(path), np.load(path, allow_pickle=False) as archive:
        array = archive[name]
    return (array[rows] for rows in parts)


def _member_rows(path: Path, name: str, parts: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Chosen rows out of the stream of bytes that a member of an archive is."""
    with _reading(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
        shape, _, dtype = _header(file)
        size, at = dtype.itemsize * math.prod(shape[1:]), 0
        for rows in parts:
            content = bytearray()
            for row in rows.tolist():
                file.seek((row - at) * size, os.SEEK_CUR)
                content += file.read(size)
                at = row + 1
            if len(content) < size * len(rows):
                raise EOFError(f"'{name}' is cut off")
            yield np.frombuffer(content, dtype).reshape(len(rows), *shape[1:])


# ---- sources: images


def _image_source(path: Path, files: list[Path], graph: CallGraph, inputs: list[_Input], choice: _Choice) -> _Source:
    one = not path.is_dir()
    if not files:
        raise InputError(f"{path}: a directory without images ({', '.join(IMAGE_ENDINGS)})")
    if len(inputs) != 1:
        raise InputError(f"{path}: images are for one input, the model takes {len(inputs)}; give an .npz or arrays")
    spec, size = inputs[0], _image_size(path, graph, inputs[0])
    classes = None if one else _classes(path, files)
    rows = choice.rows(len(files))
    read = partial(_read_image, spec=spec, size=size)
    chunks = _image_chunks([files[row] for row in rows], None if classes is None else classes[rows], read)
    name = str(path) if one else f"{str(path).rstrip(os.sep)}{os.sep}"
    called = lambda number: str(files[rows[number]])  # noqa: E731
    return _Source(str(path), name, "image", chunks, len(rows), len(files), called, are_images=True)


def _image_files(path: Path) -> list[Path]:
    """All images below a directory, sorted; links are followed, hidden files are not images."""
    found, seen = [], set()
    for folder, folders, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [name for name in folders if not name.startswith(".") and real not in seen]
        if real not in seen:
            found += [Path(folder, name) for name in names if not name.startswith(".")]
        seen.add(real)
    images = [file for file in found if file.suffix.lower() in IMAGE_ENDINGS]
    return sorted(images, key=lambda file: file.relative_to(path).as_posix())


def _classes(path: Path, files: list[Path]) -> np.ndarray | None:
    """Numbers of the first-level subdirectories, as Keras counts them; one alone tells no classes apart."""
    parts = [file.relative_to(path).parts for file in files]
    names = sorted(item.name for item in path.iterdir() if item.is_dir() and not item.name.startswith("."))
    if len({part[0] for part in parts}) < 2 or any(len(part) == 1 for part in parts):
        return None
    return np.array([names.index(part[0]) for part in parts])


def _image_size(path: Path, graph: CallGraph, spec: _Input) -> tuple[int, int, int]:
    """(rows, columns, channels) of the images the model takes; open sizes are chosen so that it works at them."""
    if spec.channels is None:
        raise InputError(f"{path}: input '{spec.names[0]}' takes samples of shape {spec.shape}, which are no images")
    sized = with_known_sizes(graph, ASSUMED_SIZES)
    shape = [size or 0 for size in sized.tensors[sized.inputs[0]].shape[1:]]
    channels = spec.shape[spec.channels] or 3
    if channels not in (1, 3):
        raise InputError(f"{path}: input '{spec.names[0]}' takes {channels} channels; images have 1 or 3")
    del shape[spec.channels]
    return shape[0], shape[1], channels


def _image_chunks(files: list[Path], labels: np.ndarray | None, read) -> Iterator[Chunk]:
    numbers = np.arange(len(files))
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        for rows in _parts(numbers, CHUNK):
            images = np.stack(list(pool.map(read, [files[row] for row in rows])))
            yield [images], None if labels is None else labels[rows]


def _read_image(file: Path, spec: _Input, size: tuple[int, int, int]) -> np.ndarray:
    """Scaled so that it covers the size, cropped around its centre: float32 0..255, in the model's data format."""
    rows, columns, channels = size
    try:
        image = _decoded(file.read_bytes(), channels)
    except (OSError, ValueError, tf.errors.OpError) as error:
        said = re.sub(r"\{\{.*?\}\} *| *\[Op:\w+\]", "", one_line(error))
        raise InputError(f"{file}: can not be read as an image: {said}") from error
    height, width = image.shape[0], image.shape[1]
    scale = min(height / rows, width / columns)
    part = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    image = tf.image.crop_to_bounding_box(image, (height - part[0]) // 2, (width - part[1]) // 2, *part)
    resized = np.asarray(tf.image.resize(image, (rows, columns), "bilinear", antialias=True), np.float32)
    if spec.dtype.kind in "iu":
        resized = np.rint(resized)
    return resized.transpose(2, 0, 1) if spec.channels == 0 else resized


def _decoded(content: bytes, channels: int):
    fixed = content.startswith((b"BM", b"GIF"))  # decoded only to the channels they have
    image = tf.io.decode_image(content, 0 if fixed else channels, expand_animations=False)
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return image[..., :3] if image.shape[2] == 4 else tf.image.grayscale_to_rgb(image)
    return tf.image.rgb_to_grayscale(image[..., :3])


# ---- sources: whatever gives samples or batches


def _iterated(data, inputs: list[_Input], limit: int, label: str) -> Iterator[Chunk]:
    left, empty = limit, 0
    for element in _elements(data, label):
        arrays, labels = _batch(element, inputs, label)
        count = min(len(arrays[0]), left)
        empty = 0 if count else empty + 1
        if empty == _EMPTY_BATCHES:
            raise InputError(f"{label}: {empty:,} batches without samples one after the other")
        if count:
            yield [array[:count] for array in arrays], None if labels is None else labels[:count]
        left -= count
        if not left:  # before the next is asked for: it may be needed elsewhere
            return


def _elements(data, label: str) -> Iterator:
    number = 0
    try:
        # The old protocol of sequences may have no end of its own.
        iterator = iter(data) if isinstance(data, Iterable) else map(data.__getitem__, range(len(data)))
        for element in iterator:
            yield element
            number += 1
    except Exception as error:  # whatever the user's code raises
        raise InputError(f"{label}: reading element {number} failed: {one_line(error)}") from error


def _batch(element, inputs: list[_Input], label: str) -> Chunk:
    """One element as a chunk; a single sample is a batch of one."""
    arrays, labels = _taken_apart(element, inputs, label)
    single = [_is_single(spec, array) for spec, array in zip(inputs, arrays, strict=True)]
    arrays = [array[None] if alone else array for alone, array in zip(single, arrays, strict=True)]
    if labels is not None and single[0]:
        labels = labels[None]
    if any(not array.shape for array in arrays):
        raise InputError(f"{label}: expected samples of shape {inputs[0].shape}, received a single number")
    if len({len(array) for array in arrays}) > 1:
        told = ", ".join(str(len(array)) for array in arrays)
        raise InputError(f"{label}: the inputs have different numbers of samples: {told}")
    _check_labels(len(arrays[0]), labels, label)
    return arrays, labels


def _is_single(spec: _Input, array: np.ndarray) -> bool:
    """Whether the sample axis is missing."""
    grey = spec.grey_shape
    if array.ndim == len(spec.shape):
        return spec.fits(array.shape) or grey is None or not _fits(grey, array.shape[1:])
    return grey is not None and array.ndim == len(grey)
