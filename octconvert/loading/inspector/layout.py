"""Names inside model files: the members of a .keras archive and the groups of its weights."""

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
OLD_WEIGHT_GROUP = "_layer_checkpoint_dependencies"
"""The group of the weights in archives of tf.keras 2.12, in the place of ``layers``."""
