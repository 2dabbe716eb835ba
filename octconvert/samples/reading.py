"""`read_samples`: data of any kind and a model -> `Samples`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from octconvert.errors import InputError, UsageError
from octconvert.model.graph_reader import build_graph
from octconvert.samples.chunks import Chunk, Selection
from octconvert.samples.inputs import ModelInput, inputs_of, miscount_message, misfit_message, scales_itself
from octconvert.samples.intake import Intake
from octconvert.samples.preprocess import Preprocess, preprocess_function
from octconvert.samples.sources import source_of
from octconvert.samples.values import Samples

RAW_NOTE = "the images are 0..255 as read; `preprocess` names the scaling that the model was trained with"


def read_samples(
    data: Any,
    model: Any,
    *,
    preprocess: str | Preprocess | None = None,
    limit: int = 2048,
    seed: int = 0,
    where: str = "calibration",
    need_labels: bool = False,
    ended: Callable[[Iterable[Chunk]], Iterable[Chunk]] = iter,
) -> Samples:
    """Read data for a model's inputs.

    Args:
        data: the path of an .npz or .npy file, of an image, or of a directory of images (searched with its
            subdirectories; if all images lie in two or more subdirectories, those are the classes); or an array, a
            tuple or list of arrays for a model with several inputs, a dict by input name, (x, y); or anything that
            yields samples or batches: `tf.data.Dataset`, `keras.utils.PyDataset`, iterables, generators. Images from
            files are scaled and cropped around their centre to the model's size; arrays must have it. `Samples` that
            fit the model are returned as they are, all of them.
        model: a Functional or Sequential Keras model.
        preprocess: what is applied to the images (to every input where the model takes no images): a module or model of
            keras.applications (its ``preprocess_input``); ``scale,offset`` for x * scale + offset (fractions such as
            1/255 are known); ``module:function``, ``file.py:function`` or a function: float32 batch -> batch.
        limit: largest number of samples: of files, directories and arrays a random choice by ``seed``, of other data
            the first.
        seed: of that choice.
        where: what messages call ``data`` without a path.
        need_labels: whether data without labels are refused.
        ended: chunks of samples -> those of them that are used, where reading has to end early.

    Raises:
        InputError: the data can not be read, do not fit the model, hold nan or infinity, or no samples at all.
        UsageError: ``preprocess`` or ``limit`` makes no sense.
    """
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or limit < 1:
        raise UsageError(f"`limit` takes a positive number of samples, received {limit!r}")
    graph = build_graph(model)
    inputs = inputs_of(graph)
    if isinstance(data, Samples):
        if preprocess is not None:
            raise UsageError(f"{data.origin}: have been read already; give `preprocess` where they are read")
        _check_fit(data, inputs)
        label, samples = data.origin, data
    else:
        function = preprocess_function(preprocess, graph.data_format)
        source = source_of(data, graph, inputs, Selection(int(limit), seed), where)
        with Intake(source, inputs, function) as intake:
            for arrays, labels in ended(source.chunks):
                intake.take(arrays, labels)
            raw = preprocess is None and intake.seen_bytes and not scales_itself(graph)
            label, samples = source.label, intake.samples((RAW_NOTE,) if raw else ())
    if need_labels and samples.labels is None:
        raise InputError(f"{label}: holds no labels (one array of numbers for all samples), which are needed here")
    return samples


def _check_fit(samples: Samples, inputs: list[ModelInput]) -> None:
    """Raise InputError for samples of another model that do not fit this one."""
    label, arrays = samples.origin, samples.arrays
    if len(arrays) != len(inputs):
        raise InputError(f"{label}: {miscount_message(inputs, len(arrays))}")
    for spec, array in zip(inputs, arrays, strict=True):
        if not spec.fits(array.shape[1:]):
            raise InputError(f"{label}: {misfit_message(spec, array)}")
        if array.dtype != spec.dtype:
            raise InputError(f"{label}: input '{spec.names[0]}' takes {spec.dtype}, received {array.dtype}")
