"""Data of any kind -> `Samples`, checked, in bounded memory.

Every kind of data becomes a `Source`: chunks of a few samples. `Intake` prepares and checks them, `Store` keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from octconvert.errors import InputError, UsageError
from octconvert.model.graph_reader import build_graph
from octconvert.samples.chunks import Choice, Chunk
from octconvert.samples.inputs import Input, inputs_of, miscount, misfit, scales_itself
from octconvert.samples.intake import Intake
from octconvert.samples.preprocess import Function, preprocess_function
from octconvert.samples.sources import source_of
from octconvert.samples.values import Samples

RAW_NOTE = "the images are 0..255 as read; --preprocess names the scaling the model was trained with"


def read_samples(
    data,
    model,
    *,
    preprocess: str | Function | None = None,
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
            gives samples or batches: `tf.data.Dataset`, `keras.utils.PyDataset`, iterables, generators. Images from
            files are scaled and cropped around their centre to the model's size; arrays must have it. `Samples` that
            fit the model are returned as they are, all of them.
        model: a Functional or Sequential Keras model.
        preprocess: what is done to the images (to every input where the model takes none): a module or model of
            keras.applications (its ``preprocess_input``); ``scale,offset`` for x * scale + offset (fractions such as
            1/255 are known); ``module:function``, ``file.py:function`` or a function: float32 batch -> batch.
        limit: samples taken at most: of files, directories and arrays a choice by ``seed``, of all else the first.
        seed: of that choice.
        where: what errors call ``data`` that has no path.
        need_labels: whether data without labels are refused.
        ended: chunks of samples -> those of them that are taken, where reading has to end early.

    Raises:
        InputError: the data can not be read, do not fit the model, hold nan or infinity, or nothing at all.
        UsageError: ``preprocess`` or ``limit`` makes no sense.
    """
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or limit < 1:
        raise UsageError(f"limit takes a positive number of samples, received {limit!r}")
    graph = build_graph(model)
    inputs = inputs_of(graph)
    if isinstance(data, Samples):
        if preprocess is not None:
            raise UsageError(f"{data.origin}: are read already; give preprocess where they are read")
        _check_fit(data, inputs)
        label, samples = data.origin, data
    else:
        function = preprocess_function(preprocess, graph.data_format)
        source = source_of(data, graph, inputs, Choice(int(limit), seed), where)
        with Intake(source, inputs, function) as intake:
            for arrays, labels in ended(source.chunks):
                intake.take(arrays, labels)
            raw = preprocess is None and intake.seen_bytes and not scales_itself(graph)
            label, samples = source.label, intake.samples((RAW_NOTE,) if raw else ())
    if need_labels and samples.labels is None:
        raise InputError(f"{label}: holds no labels (one array of numbers), which are needed here")
    return samples


def _check_fit(samples: Samples, inputs: list[Input]) -> None:
    """Samples that were read for another model may not suit this one."""
    label, arrays = samples.origin, samples.arrays
    if len(arrays) != len(inputs):
        raise InputError(f"{label}: {miscount(inputs, len(arrays))}")
    for spec, array in zip(inputs, arrays, strict=True):
        if not spec.fits(array.shape[1:]):
            raise InputError(f"{label}: {misfit(spec, array)}")
        if array.dtype != spec.dtype:
            raise InputError(f"{label}: input '{spec.names[0]}' takes {spec.dtype}, received {array.dtype}")
