"""Arguments of Keras' own layers that other Keras versions wrote: renamed, dropped if harmless, refused if not."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import keras

from octconvert.loading.configuration import Job, Record, is_model, name_of, walk
from octconvert.loading.repairs import lambdas
from octconvert.loading.unsafe_content import Kind, findings

ANY = object()

# Layer classes that live on under another name, with what they need to mean the same.
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "BatchNormalizationV1": ("BatchNormalization", {}),
    "BatchNormalizationV2": ("BatchNormalization", {}),
    "SyncBatchNormalization": ("BatchNormalization", {"synchronized": True}),
    "ThresholdedReLU": ("ReLU", {}),
    "RandomHeight": ("Identity", {}),  # which they are at inference
    "RandomWidth": ("Identity", {}),
    "Cast": ("Identity", {}),  # an operation that .h5 files of Keras 3 name like a layer; layers cast what they are fed
}
RENAMED = {
    "LeakyReLU": {"alpha": "negative_slope"},
    "ReLU": {"theta": "threshold"},
    "BatchNormalization": {"gamma_init": "gamma_initializer", "beta_init": "beta_initializer"},
}
# (layer class or "", argument) -> the values with which it changes nothing.
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
    ("", "trainable"): ANY,  # a layer that does not take it has nothing to train
    ("", "data_format"): ANY,  # only of layers that never look at it: the others still take it
    ("BatchNormalization", "fused"): ANY,
    ("BatchNormalization", "mode"): (0,),
    ("BatchNormalization", "renorm"): (False,),
    ("BatchNormalization", "renorm_clipping"): ANY,  # without renorm these two do nothing
    ("BatchNormalization", "renorm_momentum"): ANY,
    ("BatchNormalization", "virtual_batch_size"): (None,),
    ("MultiHeadAttention", "query_shape"): ANY,  # found again from the inputs
    ("MultiHeadAttention", "key_shape"): ANY,
    ("MultiHeadAttention", "value_shape"): ANY,
    ("Resizing", "crop_to_aspect_ratio"): (False,),
}
# Layers whose depthwise and pointwise kernels are one kernel for the base class: its settings mean nothing.
SEPARABLE = ("DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")
# Layers that do nothing at inference, so that no argument of theirs means anything there.
IDLE = (
    *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout", "GaussianDropout"),
    *("Identity", "GaussianNoise", "ActivityRegularization", "AugMix", "CutMix", "MixUp"),
    *("RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast", "RandomElasticTransform"),
    *("RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert"),
    *("RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness"),
    *("RandAugment", "RandomShear", "RandomTranslation", "RandomZoom"),
)
# Accepted by a base class, but set by the layer itself.
FIXED = {"rank", "pool_mode", "pool_dimensions", "cell"}
# What only training looks at; part name -> how Keras reads it.
TRAINING: dict[str, Callable[[Any], Any]] = {
    "_initializer": keras.initializers.get,
    "_regularizer": keras.regularizers.get,
    "_constraint": keras.constraints.get,
}


def own_class(record: Record, job: Job) -> type | None:
    """Keras' own layer class of a record; None for the user's layers and for models."""
    kind = record["class_name"]
    module = str(record.get("module") or "keras")
    raw = module.startswith(("keras.ops", "keras.src.ops"))  # an operation may have the name of a layer: Reshape, Add
    if kind in job.custom_objects or raw or module.split(".")[0] not in ("keras", "tensorflow"):
        return None
    found = getattr(keras.layers, kind, None)
    return found if isinstance(found, type) and issubclass(found, keras.layers.Layer) else None


def accepted(layer: type) -> set[str]:
    """The arguments a layer's constructor takes, those it hands to its base classes included."""
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


def clean(model: Record, job: Job) -> None:
    """Makes the arguments of every one of Keras' own layers fit this Keras, in place.

    Raises:
        InputError: An unknown argument has a value that changes what the layer computes.
    """
    for record in walk(model):
        if is_model(record) or not isinstance(record.get("config"), dict):
            continue
        _class(record, job)
        layer = own_class(record, job)
        if layer is not None:
            _layer(record, layer, job)


def _class(record: Record, job: Job) -> None:
    kind = record["class_name"]
    ours = str(record.get("module") or "keras.layers").startswith("keras.layers")
    if kind in CLASSES and kind not in job.custom_objects and ours:
        new, extra = CLASSES[kind]
        record["class_name"] = new
        record["config"].update(extra)
        job.notes.add(
            f"'{kind}' was replaced by 'Identity', which is what it is at inference"
            if new == "Identity"
            else f"'{kind}' is called '{new}' today",
            name_of(record),
        )
    if kind == "RandomCrop" and (job.version, job.minor) < (3, 6) and own_class(record, job) is not None:
        _random_crop(record, job)


def _random_crop(record: Record, job: Job) -> None:
    """At inference it fitted the image into the size, up to Keras 3.5; after that it does other things, or nothing."""
    record["class_name"] = "Resizing"
    record["config"]["crop_to_aspect_ratio"] = True
    record["config"].pop("seed", None)
    job.notes.add("RandomCrop was replaced by Resizing, which is what it did at inference", name_of(record))


def _layer(record: Record, layer: type, job: Job) -> None:
    config, name = record["config"], name_of(record)
    for old, new in RENAMED.get(record["class_name"], {}).items():
        if old in config:
            config[new] = config.pop(old)
    _values(config)
    _axis(config)
    if config.get("score_mode") == "dot":
        del config["score_mode"]  # the default, which the reader of .h5 files takes for the function of that name
    _training_only(config, name, job)
    if record["class_name"] == "Lambda":
        lambdas.translate(record, job)
    known = accepted(layer)
    unknown = [key for key in config if key not in known]
    if unknown and job.version >= 3 and _constructs(layer, config, job):
        return  # Keras 3 wrote it and takes it, by some other way than a named argument
    for key in unknown:
        _drop(record["class_name"], key, config.pop(key), name, job)
    if record["class_name"] in IDLE:
        _idle(record, layer, job)


def _idle(record: Record, layer: type, job: Job) -> None:
    """Makes a layer that does nothing at inference one that this Keras can make, without what it does not take."""
    config, name = record["config"], name_of(record)
    if _constructs(layer, config, job):
        return
    kept = {key: config[key] for key in ("name", "trainable", "dtype") if key in config}
    for key in config.keys() - kept.keys():
        without = {other: value for other, value in config.items() if other != key}
        if _constructs(layer, without, job):
            record["config"] = without
            job.notes.add(
                f"the argument '{key}' was dropped; Keras 3 does not take it, and it means nothing here", name
            )
            return
    if _constructs(keras.layers.Identity, kept, job):
        kind = record["class_name"]
        record.update(class_name="Identity", config=kept)
        job.notes.add(f"'{kind}' was replaced by 'Identity', which is what it does at inference", name)


def _constructs(layer: Any, config: dict[str, Any], job: Job) -> bool:
    try:
        _require_known(config, job)
        layer.from_config(copy.deepcopy(config))
    except Exception:
        return False
    return True


def _drop(kind: str, key: str, value: Any, name: str, job: Job) -> None:
    if kind in IDLE and key != "trainable":
        job.notes.add(f"the argument '{key}' was dropped; Keras 3 does not know it, and it means nothing here", name)
        return
    harmless = HARMLESS.get((kind, key), HARMLESS.get(("", key), (None, False)))
    if kind in SEPARABLE and (key == "filters" or key.removeprefix("kernel") in TRAINING):
        harmless = ANY
    if harmless is not ANY and not any(value is one or value == one for one in harmless):
        shown = str(value) if len(str(value)) <= 60 else f"{str(value)[:57]}..."
        job.refuse(f"({kind}) has the argument {key}={shown}, which Keras 3 does not know; save it without that", name)
    if key != "trainable":
        job.notes.add(f"the argument '{key}' was dropped; it is unknown to Keras 3 and changes nothing here", name)


def _values(config: dict[str, Any]) -> None:
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


def _axis(config: dict[str, Any]) -> None:
    axis = config.get("axis")
    if isinstance(axis, dict):  # a wrapped list: {"class_name": "__tuple__", "items": [3]}
        axis = axis.get("items", axis)
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]


def _training_only(config: dict[str, Any], name: str, job: Job) -> None:
    """Drops starting values, penalties and constraints that Keras 3 can not read: the weights are in the file."""
    for key, value in list(config.items()):
        read = next((get for end, get in TRAINING.items() if key.endswith(end)), None)
        if read is None or value is None:
            continue
        try:
            _require_known(value, job)
            with keras.saving.CustomObjectScope(job.custom_objects):
                read(value)
        except Exception:
            plain = _without_dtype(value)
            try:
                _require_known(plain, job)
                read(plain)
                config[key] = plain
            except Exception:
                del config[key]
                job.notes.add(f"'{key}' was dropped; Keras 3 can not read it and only training needs it", name)


def _require_known(value: Any, job: Job) -> None:
    """Keras imports modules in search of an object that is unknown; nothing that a file names is imported here."""
    for finding in findings({"config": {"": value}}, job.custom_objects):
        if finding.kind is Kind.UNKNOWN:
            raise ValueError(str(finding))


def _without_dtype(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("config"), dict):
        kept = {key: item for key, item in value["config"].items() if key != "dtype"}
        return {**value, "config": kept}
    return value
