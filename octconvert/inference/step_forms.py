"""`Forms`: how steps are written that can be written in several ways, and what suits each runtime."""

from __future__ import annotations

from dataclasses import dataclass, replace

PATHS = ("inputs", "outputs", "separate")
UPSAMPLINGS = ("repeat", "resize", "copies", "broadcast", "rows")
POOLINGS = ("layer", "depthwise")
RESHAPINGS = ("operation", "layer")
SIGNALS = ("images", "layers")
VOLUMES = ("layers", "planes")


@dataclass(frozen=True)
class Forms:
    """How steps are written that can be written in several ways; the best differs from runtime to runtime.

    Attributes:
        paths: of octave convolutions. 'separate': one convolution each; 'inputs': one over concatenated inputs where
            two would be added; 'outputs': one where two read the low map, its channels cut.
        upsampling: of the low part of a high output. 'repeat': UpSampling; 'resize': Resizing, nearest, of images;
            'copies': the map joined with itself; 'broadcast': a sum over views that repeats the map along up to two
            axes; 'rows': likewise, but columns are always copied.
        pooling: averages of whole windows. 'layer': AveragePooling; 'depthwise': a depthwise convolution, of images and
            signals.
        reshaping: 'operation': of keras.ops, which leaves the batch to be derived; 'layer': Reshape, which HDF5 files
            can hold, but which computes an open batch in each run.
        signals: models of signals. 'layers': as they are; 'images': computed on images of one row, where all sizes are
            known.
        volumes: their convolutions and poolings. 'layers': as they are; 'planes': those of images, of planes that have
            the channels of all planes that are read for them, and of planes and then along the depth.
        transposing: transposed convolutions. 'layer': as they are; 'subpixel': a convolution and ``depth_to_space``,
            which is an operation.
    """

    paths: str = "inputs"
    upsampling: str = "broadcast"
    pooling: str = "layer"
    reshaping: str = "operation"
    signals: str = "images"
    volumes: str = "layers"
    transposing: str = "layer"


RUNTIMES = {
    "tf": Forms(upsampling="copies"),
    "xla": Forms(upsampling="rows", volumes="planes"),
    "litert": Forms(upsampling="broadcast", volumes="planes", transposing="subpixel"),
    "onnx": Forms(upsampling="resize"),
    "openvino": Forms(upsampling="resize"),
}
"""The fastest that ``benchmarks/forms.py`` has measured on ResNet50 and MobileNet; what is within the noise, either."""
QUANTIZED = {("litert", "int8"): replace(RUNTIMES["litert"], pooling="depthwise")}
"""The same for other precisions, where they differ: XNNPACK has no average pooling in int8."""


def forms_for(runtime: str, precision: str | None = None) -> Forms:
    """Those of a runtime; ``precision``: to which the numbers are going to be rounded."""
    return QUANTIZED.get((runtime, precision or ""), RUNTIMES[runtime])
