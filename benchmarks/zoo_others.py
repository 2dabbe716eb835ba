"""Models beyond keras.applications for `zoo.py --others`: label -> how to build one, without weights and downloads."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from functools import partial

SIZE = (128, 128, 3)
PACKAGES = {
    "hub": ("keras_hub", "keras-hub"),
    "kimm": ("kimm", "kimm"),
    "sm": ("segmentation_models", "segmentation-models"),
    "unet": ("keras_unet_collection", "keras-unet-collection"),
    "ic": ("classification_models", "image-classifiers"),
}
ELEMENTWISE: dict[str, tuple[str, ...]] = {}
"""Layers of a package that act on each channel and position alone, as a user would name them."""
KIMM = (
    "ConvMixer736D32 ConvNeXtAtto DenseNet161 EfficientNetLiteB0 EfficientNetV2S GhostNetW100 GhostNetV2W100 "
    "GhostNetV3W100 HGNetTiny HGNetV2B0 InceptionNeXtTiny LCNet100 MobileNetV3W100LargeMinimal MobileOneS0 "
    "MobileViTXXS RegNetX004 RegNetY004 RepVGGA0 ResNet18 TinyNetA VGG11"
)
SEGMENTATION = {
    "Unet": ("resnet18", "mobilenetv2", "efficientnetb0", "seresnet18", "inceptionv3"),
    "Linknet": ("resnet34", "vgg16"),
    "FPN": ("resnet18", "mobilenet", "seresnext50"),
    "PSPNet": ("resnet18", "efficientnetb0"),
}
CLASSIFIERS = ("resnet18", "resnet34", "seresnet18", "seresnet50", "resnext50", "seresnext50", "senet154")


def labels() -> list[str]:
    """Labels of the models whose package is installed; a line about each that is not."""
    found = []
    for label in BUILDERS:
        module, package = PACKAGES[label.partition("/")[0]]
        if importlib.util.find_spec(module):
            found.append(label)
        elif not any(other in label for other in found):
            print(f"{label}: skipped; pip install {package}", file=sys.stderr)
    return found


def build(label: str):
    """The model as a plain Functional one: these packages subclass keras.Model to hold their arguments."""
    import keras

    os.environ["SM_FRAMEWORK"] = "tf.keras"
    model = BUILDERS[label]()
    return keras.Model(model.inputs, model.outputs, name=model.name)


def _hub(name: str, **arguments):
    import keras_hub

    return getattr(keras_hub.models, f"{name}Backbone")(image_shape=SIZE, **arguments)


def _resnet(**more):
    arguments = {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 128, 256, 512],
        "stackwise_num_blocks": [2, 2, 2, 2],
        "stackwise_num_strides": [1, 2, 2, 2],
        "block_type": "basic_block",
    }
    return _hub("ResNet", **{**arguments, **more})


def _hub_mobilenet():
    return _hub(
        "MobileNet",
        stackwise_expansion=[[16], [64, 72], [72, 120]],
        stackwise_num_blocks=[1, 2, 2],
        stackwise_num_filters=[[16], [24, 24], [40, 40]],
        stackwise_kernel_size=[[3], [3, 3], [5, 5]],
        stackwise_num_strides=[[1], [2, 1], [2, 1]],
        stackwise_se_ratio=[[None], [None, None], [0.25, 0.25]],
        stackwise_activation=[["relu"], ["relu", "relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1], [1, 1], [2, 2]],
        output_num_filters=288,
        depthwise_filters=16,
        depthwise_stride=1,
        depthwise_residual=False,
        last_layer_filter=480,
    )


def _hub_efficientnet():
    import keras_hub

    return keras_hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * 4,
        stackwise_depth_coefficients=[1.0] * 4,
        stackwise_kernel_sizes=[3, 3, 3, 5],
        stackwise_num_repeats=[1, 2, 2, 2],
        stackwise_input_filters=[24, 24, 48, 64],
        stackwise_output_filters=[24, 48, 64, 128],
        stackwise_expansion_ratios=[1, 4, 4, 4],
        stackwise_squeeze_and_excite_ratios=[0.0, 0.0, 0.25, 0.25],
        stackwise_strides=[1, 2, 2, 2],
        stackwise_block_types=["fused", "fused", "unfused", "unfused"],
        stackwise_force_input_filters=[0] * 4,
        stackwise_nores_option=[False] * 4,
        input_shape=SIZE,
    )


def _hub_cspnet(stage_type: str = "dark"):
    return _hub(
        "CSPNet",
        stem_filters=32,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_depth=[1, 2, 4],
        stackwise_strides=[2, 2, 2],
        stackwise_num_filters=[32, 64, 128],
        block_type="dark_block" if stage_type == "dark" else "bottleneck_block",
        stage_type=stage_type,
        bottle_ratio=[1.0 if stage_type == "dark" else 0.5],
        expand_ratio=[1.0 if stage_type == "dark" else 2.0],
    )


def _hub_deeplab(**more):
    arguments = {"spatial_pyramid_pooling_key": "P4", "upsampling_size": 4, "dilation_rates": [2, 4, 6]}
    return _hub("DeepLabV3", image_encoder=_resnet(), **arguments, **more)


def _hub_pyramid():
    return _hub("RetinaNet", image_encoder=_resnet(), min_level=3, max_level=5, use_p5=False)


def _hub_xception():
    return _hub(
        "Xception", stackwise_conv_filters=[[32, 64], [64, 128], [256, 256]], stackwise_pooling=[True, True, False]
    )


def _hub_hgnet():
    return _hub(
        "HGNetV2",
        depths=[1, 1, 2],
        embedding_size=32,
        hidden_sizes=[64, 128, 256],
        stem_channels=[3, 16, 32],
        hidden_act="relu",
        use_learnable_affine_block=True,
        stackwise_stage_filters=[(32, 16, 64, 1, 1, 3), (64, 32, 128, 1, 1, 3), (128, 64, 256, 2, 1, 5)],
        apply_downsample=[False, True, True],
        use_lightweight_conv_block=[False, False, True],
    )


def _kimm(name: str):
    import kimm

    size = (224, 224, 3) if name.startswith("VGG") else SIZE  # its head is a 7x7 convolution
    return getattr(kimm.models, name)(input_shape=size, weights=None, classifier_activation="linear", classes=10)


def _segmentation(kind: str, backbone: str):
    import segmentation_models

    size = (144, 144, 3) if kind == "PSPNet" else SIZE
    return getattr(segmentation_models, kind)(backbone, encoder_weights=None, input_shape=size, activation="linear")


def _unet(name: str, *arguments, **more):
    from keras_unet_collection import models

    return getattr(models, name)(*arguments, **more)


def _classifier(name: str):
    from classification_models.tfkeras import Classifiers

    return Classifiers.get(name)[0](SIZE, weights=None, classes=10)


FILTERS = [16, 32, 64, 128]
UNETS: dict[str, Callable] = {
    "unet_2d": partial(_unet, "unet_2d", SIZE, FILTERS, 2, output_activation=None, batch_norm=True),
    "unet_2d, transposed": partial(_unet, "unet_2d", SIZE, FILTERS, 2, output_activation=None, unpool=False),
    "vnet_2d": partial(_unet, "vnet_2d", SIZE, [*FILTERS, 256], n_labels=2, res_num_max=2, pool=False),
    "unet_plus_2d": partial(_unet, "unet_plus_2d", SIZE, FILTERS, 2, output_activation=None),
    "r2_unet_2d": partial(_unet, "r2_unet_2d", SIZE, FILTERS, 2, output_activation=None),
    "att_unet_2d": partial(_unet, "att_unet_2d", SIZE, FILTERS, 2, output_activation=None, batch_norm=True),
    "u2net_2d": partial(_unet, "u2net_2d", SIZE, 2, FILTERS[:3], output_activation=None),
    "unet_3plus_2d": partial(_unet, "unet_3plus_2d", SIZE, 2, FILTERS, output_activation=None),
}
HUB: dict[str, Callable] = {
    "ResNet": _resnet,
    "ResNet, bottleneck": partial(_resnet, block_type="bottleneck_block"),
    "ResNetV2": partial(_resnet, use_pre_activation=True),
    "VGG": partial(_hub, "VGG", stackwise_num_repeats=[2, 2, 3], stackwise_num_filters=[64, 128, 256]),
    "DenseNet": partial(_hub, "DenseNet", stackwise_num_repeats=[3, 6, 4]),
    "MobileNet": _hub_mobilenet,
    "EfficientNet": _hub_efficientnet,
    "CSPNet, dark": _hub_cspnet,
    "CSPNet, csp": partial(_hub_cspnet, "csp"),
    "CSPNet, cs3": partial(_hub_cspnet, "cs3"),
    "DeepLabV3": _hub_deeplab,
    "DeepLabV3+": partial(_hub_deeplab, low_level_feature_key="P2"),
    "RetinaNet": _hub_pyramid,
    "Xception": _hub_xception,
    "HGNetV2": _hub_hgnet,
}
BUILDERS: dict[str, Callable] = {
    **{f"hub/{name}": make for name, make in HUB.items()},
    **{f"kimm/{name}": partial(_kimm, name) for name in KIMM.split()},
    **{
        f"sm/{kind} {b}": partial(_segmentation, kind, b) for kind, backbones in SEGMENTATION.items() for b in backbones
    },
    **{f"unet/{name}": make for name, make in UNETS.items()},
    **{f"ic/{name}": partial(_classifier, name) for name in CLASSIFIERS},
}
