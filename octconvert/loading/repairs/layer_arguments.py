"""Arguments of Keras' own layers from other versions: renamed, dropped if harmless, refused if not."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import keras

from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record, is_model, name_of, walk
from octconvert.loading.repairs import lambdas
from octconvert.loading.unsafe_content import Kind, find_unsafe

ANY = object()

# Old class -> (present class, arguments that it needs to compute the same).
RENAMED_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "BatchNormalizationV1": ("BatchNormalization", {}),
    "BatchNormalizationV2": ("BatchNormalization", {}),
    "SyncBatchNormalization": ("BatchNormalization", {"synchronized": True}),
    "ThresholdedReLU": ("ReLU", {}),
    "RandomHeight": ("Identity", {}),  # at inference
    "RandomWidth": ("Identity", {}),
    "Cast": (
        "Identity",
        {},
    ),  # .h5 files of Keras 3 name this operation like a layer; layers cast their inputs themselves
}
RENAMED_ARGUMENTS = {
    "LeakyReLU": {"alpha": "negative_slope"},
    "ReLU": {"theta": "threshold"},
    "BatchNormalization": {"gamma_init": "gamma_initializer", "beta_init": "beta_initializer"},
}
# (layer class, or "" for any, argument) -> its values that have no effect.
HARMLESS: dict[tuple[str, str], Any] = {
    ("", "groups"): (1,),
    ("", "implementation"): ANY,
    ("", "time_major"): (False,),
    ("", "ragged"): (False,),
    ("", "sparse"): (False,),
    ("", "dynamic"): (False,),
    ("", "stateful"): (False,),
    ("", "seed"): ANY,
    ("", "noise_shape"): (None,),
    ("", "input_dtype"): ANY,
    ("", "input_length"): ANY,
    ("", "input_dim"): ANY,
    ("", "expects_training_arg"): ANY,
    ("", "experimental_autocast"): ANY,
    ("", "zero_output_for_mask"): ANY,
    ("", "trainable"): ANY,  # a layer that does not accept it has no weights
    ("", "data_format"): ANY,  # only in layers that do not use it: the others still accept it
    ("BatchNormalization", "fused"): ANY,
    ("BatchNormalization", "mode"): (0,),
    ("BatchNormalization", "renorm"): (False,),
    ("BatchNormalization", "renorm_clipping"): ANY,  # without renorm these two have no effect
    ("BatchNormalization", "renorm_momentum"): ANY,
    ("BatchNormalization", "virtual_batch_size"): (None,),
    ("MultiHeadAttention", "query_shape"): ANY,  # inferred from the inputs
    ("MultiHeadAttention", "key_shape"): ANY,
    ("MultiHeadAttention", "value_shape"): ANY,
    ("Resizing", "crop_to_aspect_ratio"): (False,),
}
# Layers that do not use the arguments that their base class has for one kernel.
SEPARABLE = ("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")
# Layers that are the identity at inference, whatever their arguments.
IDENTITY_AT_INFERENCE = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout"),
    *("Identity", "GaussianNoise", "ActivityRegularization", "AugMix", "CutMix", "MixUp"),
    *("RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomElasticTransform"),
    *("RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert"),
    *("RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness"),
    *("RandAugment", "RandomShear", "RandomTranslation", "RandomZoom"),
)
# Accepted by a base class, but set by the layer.
FIXED = {"rank", "pool_mode", "pool_dimensions", "cell"}
# Only for training: end of the argument's name -> how Keras reads it.
TRAINING: dict[str, Callable[[Any], Any]] = {
    "_initializer": keras.initializers.get,
    "_regularizer": keras.regularizers.get,
    "_constraint": keras.constraints.get,
}


def own_class(record: Record, context: LoadingContext) -> type | None:
    """Keras' own layer class of a record; None for the user's layers and for models."""
    kind = record["class_name"]
    module = str(record.get("module") or "keras")
    raw = module.startswith(("keras.ops", "keras.src.ops"))  # an operation may have the name of a layer: Reshape, Add
    if kind in context.custom_objects or raw or module.split(".")[0] not in ("keras", "tensorflow"):
        return None
    layer = getattr(keras.layers, kind, None)
    return layer if isinstance(layer, type) and issubclass(layer, keras.layers.Layer) else None


def accepted_arguments(layer: type) -> set[str]:
    """The arguments of a class's constructor, with those that it passes on to its base classes."""
    names: set[str] = set()
    for base in layer.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if base is keras.layers.Layer or not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    own = set(inspect.signature(layer.__init__).parameters)  # type: ignore[misc]
    return names - (FIXED - own) - {"self"}


def repair(model: Record, context: LoadingContext) -> None:
    """Adapts the classes and arguments of all of Keras' own layers to this version of Keras, in place.

    Raises:
        InputError: An unknown argument has a value that changes what the layer computes.
    """
    for record in walk(model):
        if is_model(record) or not isinstance(record.get("config"), dict):
            continue
        _rename_class(record, context)
        layer = own_class(record, context)
        if layer is not None:
            _repair_arguments(record, layer, context)


def _rename_class(record: Record, context: LoadingContext) -> None:
    kind = record["class_name"]
    from_keras = str(record.get("module") or "keras.layers").startswith("keras.layers")
    if kind in RENAMED_CLASSES and kind not in context.custom_objects and from_keras:
        new, extra = RENAMED_CLASSES[kind]
        record["class_name"] = new
        record["config"].update(extra)
        context.notes.add(
            f"'{kind}' was replaced by 'Identity', which it is at inference"
            if new == "Identity"
            else f"'{kind}' is now called '{new}'",
            name_of(record),
        )
    if kind == "RandomCrop" and (context.version, context.minor) < (3, 6) and own_class(record, context) is not None:
        _replace_random_crop(record, context)


def _replace_random_crop(record: Record, context: LoadingContext) -> None:
    """Up to Keras 3.5 it resized at inference, as Resizing does; later versions behave differently."""
    record["class_name"] = "Resizing"
    record["config"]["crop_to_aspect_ratio"] = True
    record["config"].pop("seed", None)
    context.notes.add("RandomCrop was replaced by Resizing, which it did at inference", name_of(record))


def _repair_arguments(record: Record, layer: type, context: LoadingContext) -> None:
    config, name = record["config"], name_of(record)
    for old, new in RENAMED_ARGUMENTS.get(record["class_name"], {}).items():
        if old in config:
            config[new] = config.pop(old)
    _unwrap_values(config)
    _unwrap_axis(config)
    if config.get("score_mode") == "dot":
        del config["score_mode"]  # the default; the reader of .h5 files mistakes it for the function of that name
    _drop_unreadable_training_arguments(config, name, context)
    if record["class_name"] == "Lambda":
        lambdas.translate(record, context)
    known = accepted_arguments(layer)
    unknown = [key for key in config if key not in known]
    if unknown and context.version >= 3 and _constructs(layer, config, context):
        return  # Keras 3 wrote it and accepts it, though not as a named argument
    for key in unknown:
        _drop(record["class_name"], key, config.pop(key), name, context)
    if record["class_name"] in IDENTITY_AT_INFERENCE:
        _simplify(record, layer, context)


def _simplify(record: Record, layer: type, context: LoadingContext) -> None:
    """Makes a layer that is the identity at inference one that this Keras can create, even without an argument."""
    config, name = record["config"], name_of(record)
    if _constructs(layer, config, context):
        return
    common = {key: config[key] for key in ("name", "trainable", "dtype") if key in config}
    for key in config.keys() - common.keys():
        without = {other: value for other, value in config.items() if other != key}
        if _constructs(layer, without, context):
            record["config"] = without
            context.notes.add(
                f"the argument '{key}' was dropped; Keras 3 does not accept it, and it has no effect here", name
            )
            return
    if _constructs(keras.layers.Identity, common, context):
        kind = record["class_name"]
        record.update(class_name="Identity", config=common)
        context.notes.add(f"'{kind}' was replaced by 'Identity', which it is at inference", name)


def _constructs(layer: Any, config: dict[str, Any], context: LoadingContext) -> bool:
    try:
        _require_known(config, context)
        layer.from_config(copy.deepcopy(config))
    except Exception:
        return False
    return True


def _drop(kind: str, key: str, value: Any, name: str, context: LoadingContext) -> None:
    if kind in IDENTITY_AT_INFERENCE and key != "trainable":
        context.notes.add(f"the argument '{key}' was dropped; it is unknown to Keras 3 and has no effect here", name)
        return
    harmless = HARMLESS.get((kind, key), HARMLESS.get(("", key), (None, False)))
    if kind in SEPARABLE and (key == "filters" or key.removeprefix("kernel") in TRAINING):
        harmless = ANY
    if harmless is not ANY and not any(value is one or value == one for one in harmless):
        shown = str(value) if len(str(value)) <= 60 else f"{str(value)[:57]}..."
        context.refuse(
            f"({kind}) has the argument {key}={shown}, which Keras 3 does not know; save the model without it", name
        )
    if key != "trainable":
        context.notes.add(f"the argument '{key}' was dropped; it is unknown to Keras 3 and has no effect here", name)


def _unwrap_values(config: dict[str, Any]) -> None:
    for key, value in config.items():
        if isinstance(value, dict) and value.get("type") == "ndarray":
            config[key] = value.get("value")
        elif isinstance(value, dict) and value.get("class_name") == "__numpy__":
            config[key] = value["config"]["value"]
    dtype = config.get("dtype")
    if isinstance(dtype, dict) and dtype.get("class_name") in ("Policy", "PolicyV1"):
        dtype = (dtype.get("config") or {}).get("name")
        config["dtype"] = dtype
    if isinstance(dtype, str) and dtype.startswith(("infer", "_infer")):
        config["dtype"] = "float32"


def _unwrap_axis(config: dict[str, Any]) -> None:
    axis = config.get("axis")
    if isinstance(axis, dict):  # a wrapped list: {"class_name": "__tuple__", "items": [3]}
        axis = axis.get("items", axis)
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]


def _drop_unreadable_training_arguments(config: dict[str, Any], name: str, context: LoadingContext) -> None:
    """Drops initializers, regularizers and constraints that Keras 3 can not read: the weights are in the file."""
    for key, value in list(config.items()):
        read = next((get for end, get in TRAINING.items() if key.endswith(end)), None)
        if read is None or value is None:
            continue
        try:
            _require_known(value, context)
            with keras.saving.CustomObjectScope(context.custom_objects):
                read(value)
        except Exception:
            plain = _without_dtype(value)
            try:
                _require_known(plain, context)
                read(plain)
                config[key] = plain
            except Exception:
                del config[key]
                context.notes.add(f"'{key}' was dropped; Keras 3 can not read it, and only training needs it", name)


def _require_known(value: Any, context: LoadingContext) -> None:
    """Refuses unknown objects: Keras would import modules in search of them, and a file must not choose imports."""
    for finding in find_unsafe({"config": {"": value}}, context.custom_objects):
        if finding.kind is Kind.UNKNOWN:
            raise ValueError(str(finding))


def _without_dtype(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        config = {key: item for key, item in value["config"].items() if key != "dtype"}
        return {**value, "config": config}
    return value
