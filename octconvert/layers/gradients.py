"""Gradients of strided 1x1 convolutions that keep clear of a fault in TensorFlow's library for Intel processors.

oneDNN's gradient by the kernel of a strided 1x1 convolution writes past its workspace where the input has fewer
channels than a vector register holds numbers (16 with AVX-512, 8 with AVX2; oneDNN issue 6035), and the process dies.
A strided 1x1 convolution is one of stride 1 on every s-th row and column, and the gradient of that is right. The
forward pass and the gradient by the input are not affected, nor are other kernel sizes, depthwise or 3-D convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

from octconvert.layers.tensors import Tensor

_ATTRIBUTES = ("strides", "padding", "explicit_paddings", "use_cudnn_on_gpu", "data_format", "dilations")


@contextmanager
def safe_gradients() -> Iterator[None]:
    """Gradients that are taken, or traced, meanwhile are right for strided 1x1 convolutions, whoever calls them.

    What is replaced are TensorFlow's own gradient functions of the two operations. No layer is touched, and so nothing
    gets into a model that is saved meanwhile.
    """
    entries = gradient_registry._registry
    before = {name: entries[name] for name in _GRADIENTS}
    try:
        for name, gradient in _GRADIENTS.items():
            entries[name] = {**before[name], "type": partial(gradient, before[name]["type"])}
        yield
    finally:
        entries.update(before)


def with_safe_gradient(operation: Callable[[Tensor, Tensor], Tensor], x: Tensor, kernel: Tensor) -> Tensor:
    """``operation(x, kernel)``, whose gradients are taken under `safe_gradients` whenever that is."""

    @tf.custom_gradient
    def guarded(x: Tensor, kernel: Tensor) -> tuple[Tensor, Callable[[Tensor], Any]]:
        def gradients(upstream: Tensor) -> Any:
            with safe_gradients(), tf.GradientTape() as tape:
                tape.watch((x, kernel))
                output = operation(x, kernel)
                return tape.gradient(output, (x, kernel), upstream)

        return operation(x, kernel), gradients

    return guarded(tf.convert_to_tensor(x), tf.convert_to_tensor(kernel))


def _of_convolution(usual: Callable[..., Any], operation: tf.Operation, upstream: Tensor) -> Any:
    x, kernel = operation.inputs
    every = _every(operation, kernel)
    if every is None:
        return usual(operation, upstream)
    own = {name: operation.get_attr(name) for name in _ATTRIBUTES}
    by_input = tf.raw_ops.Conv2DBackpropInput(input_sizes=tf.shape(x), filter=kernel, out_backprop=upstream, **own)
    return [by_input, _by_kernel(operation, kernel, x[every], upstream)]


def _of_transposed(usual: Callable[..., Any], operation: tf.Operation, upstream: Tensor) -> Any:
    """A transposed convolution is a convolution's gradient by its input, and its kernel's gradient the same one."""
    _, kernel, x = operation.inputs
    every = _every(operation, kernel)
    if every is None:
        return usual(operation, upstream)
    own = {name: operation.get_attr(name) for name in _ATTRIBUTES}
    by_input = tf.raw_ops.Conv2D(input=upstream, filter=kernel, **own)
    return [None, _by_kernel(operation, kernel, upstream[every], x), by_input]


def _every(operation: tf.Operation, kernel: Tensor) -> tuple[slice, ...] | None:
    """The index that takes what a strided 1x1 window reads; None for another window, or one with explicit padding."""
    strides = operation.get_attr("strides")
    if max(strides) == 1 or tuple(kernel.shape[:2]) != (1, 1) or any(operation.get_attr("explicit_paddings")):
        return None
    return tuple(slice(None, None, stride) for stride in strides)


def _by_kernel(operation: tf.Operation, kernel: Tensor, wide: Tensor, narrow: Tensor) -> Tensor:
    return tf.raw_ops.Conv2DBackpropFilter(
        input=wide,
        filter_sizes=tf.shape(kernel),
        out_backprop=narrow,
        strides=[1] * 4,
        padding="VALID",
        data_format=operation.get_attr("data_format"),
    )


_GRADIENTS = {"Conv2D": _of_convolution, "Conv2DBackpropInput": _of_transposed}
