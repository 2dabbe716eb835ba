"""Names of layers and arguments in Keras 1, and their present names.

The tables follow ``legacy/interfaces.py`` of Keras 2; what no later Keras can express is refused.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record, is_model, name_of, walk

DATA_FORMATS = {"tf": "channels_last", "th": "channels_first"}

CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "AtrousConv2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconv2D": "Conv2DTranspose",
    "Deconvolution3D": "Conv3DTranspose",
}
MERGES = {"sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate"}
REMOVED = {"MaxoutDense", "Highway", "TimeDistributedDense", "LocallyConnected1D", "LocallyConnected2D", "MergeLayer"}

ARGUMENTS = {
    "border_mode": "padding",
    "subsample": "strides",
    "bias": "use_bias",
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "subsample_length": "strides",
    "atrous_rate": "dilation_rate",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
}
# Arguments that have another meaning, or none, in other layers.
ARGUMENTS_OF_LAYERS = {
    "Dense": {"output_dim": "units"},
    "Dropout": {"p": "rate"},
    "GaussianDropout": {"p": "rate"},
    "SpatialDropout1D": {"p": "rate"},
    "SpatialDropout2D": {"p": "rate"},
    "SpatialDropout3D": {"p": "rate"},
    "GaussianNoise": {"sigma": "stddev"},
    "MaxPooling1D": {"pool_length": "pool_size", "stride": "strides"},
    "AveragePooling1D": {"pool_length": "pool_size", "stride": "strides"},
    "UpSampling1D": {"length": "size"},
    "Embedding": {"W_regularizer": "embeddings_regularizer", "W_constraint": "embeddings_constraint"},
}
# Initializers are of no use: the weights come from the file.
UNUSED = {"init", "beta_init", "gamma_init", "inner_init", "input_dtype", "input_length", "weights"}
KERNELS = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
# Layers without a data format in the file; Keras 1 used that of the user's settings.
WITHOUT_DATA_FORMAT = {"UpSampling2D", "UpSampling3D", "ZeroPadding2D", "ZeroPadding3D", "Cropping2D", "Cropping3D"}


def translate(model: Record, context: LoadingContext) -> None:
    """Rewrites every layer of a Keras 1 model to the present names, in place.

    Raises:
        InputError: A layer does something that later versions of Keras can not do.
    """
    context.notes.add("the file was written by Keras 1; its layer and argument names were translated")
    common = _most_common_data_format(model)
    for record in walk(model):
        if not is_model(record) and isinstance(record.get("config"), dict):
            _translate_layer(record, common, context)


def _most_common_data_format(model: Record) -> str:
    formats = Counter(
        record["config"]["dim_ordering"]
        for record in walk(model)
        if isinstance(record.get("config"), dict) and record["config"].get("dim_ordering") in DATA_FORMATS
    )
    return DATA_FORMATS[formats.most_common(1)[0][0]] if formats else "channels_last"


def _translate_layer(record: Record, common: str, context: LoadingContext) -> None:
    kind, config, name = record["class_name"], record["config"], name_of(record)
    if kind in REMOVED:
        context.refuse(f"is a '{kind}', which only Keras 1 had; rebuild the model without it and save it again", name)
    if kind == "Merge":
        kind = _merge(config, name, context)
    if kind == "BatchNormalization" and config.pop("mode", 0) != 0:
        context.refuse(
            "normalizes with a mode other than 0, which only Keras 1 had; rebuild the model without it", name
        )
    if kind == "Deconvolution2D" and config.get("output_shape"):
        context.expected_shapes[name] = tuple(config.pop("output_shape"))
    record["class_name"] = kind = CLASSES.get(kind, kind)
    if "dim_ordering" in config:
        config["data_format"] = DATA_FORMATS.get(config.pop("dim_ordering"), common)
    elif kind in WITHOUT_DATA_FORMAT:
        config["data_format"] = common
    _rename_arguments(kind, config)
    if kind == "PReLU" and "shared_axes" not in config and context.weight_shapes.get(name):
        # Keras 1 did not save which axes share a slope; in the file they have length one.
        config["shared_axes"] = [axis + 1 for axis, n in enumerate(context.weight_shapes[name][0]) if n == 1] or None
    if kind == "ZeroPadding2D":
        config["padding"] = _padding(config.get("padding", (1, 1)))


def _rename_arguments(kind: str, config: dict[str, Any]) -> None:
    for old, new in {**ARGUMENTS, **ARGUMENTS_OF_LAYERS.get(kind, {})}.items():
        if old in config:
            config[new] = config.pop(old)
    for axes in KERNELS:
        if axes[0] in config:
            config["kernel_size"] = [config.pop(axis) for axis in axes]
    for key in UNUSED:
        config.pop(key, None)
    if kind != "Embedding":
        config.pop("input_dim", None)
    if kind == "Conv2DTranspose":
        config.pop("dilation_rate", None)
    for key, value in config.items():
        if key.endswith("_regularizer") and isinstance(value, dict) and "class_name" not in value:
            strengths = {k: float(value.get(k) or 0) for k in ("l1", "l2")}
            config[key] = {"class_name": "L1L2", "config": strengths}


def _merge(config: dict[str, Any], name: str, context: LoadingContext) -> str:
    mode, axis = config.get("mode"), config.get("concat_axis", -1)
    if mode not in MERGES or config.get("mode_type", "raw") != "raw":
        shown = mode if config.get("mode_type", "raw") == "raw" else "a function"
        context.refuse(
            f"merges with mode '{shown}', which has no equivalent in Keras 3; rebuild the model without it", name
        )
    common: dict[str, Any] = {key: config[key] for key in ("name", "trainable") if key in config}
    config.clear()
    config.update(common)
    if mode == "concat":
        config["axis"] = axis
    return MERGES[mode]


def _padding(padding: Any) -> Any:
    if isinstance(padding, dict):
        sides = [padding.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
    elif len(padding) == 4:
        sides = list(padding)
    else:
        return padding
    return [sides[:2], sides[2:]]
