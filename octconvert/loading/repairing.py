"""Step 3 of reading: the configuration of any Keras since 1.2 becomes one that Keras 3 builds correctly."""

from __future__ import annotations

import copy

from octconvert.loading import keras_archive, size_limits, trust
from octconvert.loading.configuration import Configuration, RepairedConfiguration
from octconvert.loading.context import LoadingContext
from octconvert.loading.records import Record
from octconvert.loading.repairs import (
    hard_sigmoid,
    inbound_nodes,
    input_shapes,
    keras1,
    layer_arguments,
    layer_names,
    model_structure,
    theano_padding,
)
from octconvert.loading.tensorflow import translation


def repair(configuration: Configuration) -> RepairedConfiguration:
    """The configuration in the form of this Keras, checked for unsafe content and for sizes.

    Raises:
        InputError: Something can not be repaired, or may only be loaded with an option of the user.
    """
    record, context = copy.deepcopy(configuration.record), configuration.context
    settings = configuration.training_settings
    if configuration.file.kind == "keras" and context.version < 3:
        keras_archive.modernize(record)
    repair_in_place(record, context)
    if configuration.file.kind == "keras" and context.version >= 3:
        settings = record.get("compile_config")  # without settings that are not trusted
    return RepairedConfiguration(configuration, record, settings)


def repair_in_place(record: Record, context: LoadingContext) -> None:
    """All repairs and checks, in an order in which each can rely on those before it.

    Raises:
        InputError: As `repair`.
    """
    model_structure.normalize(record, context)
    if context.version < 2:
        keras1.translate(record, context)
    input_shapes.add_input_layers(record, context)
    if context.version < 3:
        inbound_nodes.renumber(record)
        inbound_nodes.convert_keyword_tensors(record)
        hard_sigmoid.replace(record, context)
    if context.theano:
        theano_padding.replace(record, context)
    layer_names.rename(record, context)
    size_limits.check_sizes(record, context)
    trust.check(record, context)
    layer_arguments.repair(record, context)
    translation.translate(record, context)
    trust.check_repaired(record, context)
