"""Functions that kept their name from Keras 2 to Keras 3 and compute something else since."""

from __future__ import annotations

from octconvert.io.tree import Job, Record, is_model, name_of, walk

# Keras 1 and 2: clip(0.2 x + 0.5, 0, 1). Keras 3: clip(x / 6 + 0.5, 0, 1).
NAME = "hard_sigmoid"


def keep_hard_sigmoid(model: Record, job: Job, *, may_nest: bool) -> None:
    """Spells out the hard_sigmoid of Keras 1 and 2 as Rescaling and ReLU, in place.

    Args:
        may_nest: Whether a layer may become a small Sequential. In a .keras file the place of the weights depends on
            the order of the classes, so there it may not.

    Raises:
        InputError: The function sits where it can not be replaced.
    """
    # Collected first: what is put in must not be walked again.
    for record in list(walk(model)):
        config = record["config"]
        if is_model(record) or not isinstance(config, dict):
            continue
        if config.get("recurrent_activation") == NAME or (config.get("activation") == NAME and not may_nest):
            job.refuse("uses the hard_sigmoid of Keras 2, which is another function in Keras 3", name_of(record))
        if config.get("activation") == NAME:
            _spell_out(record, job)


def _spell_out(record: Record, job: Job) -> None:
    name, old = name_of(record), dict(record["config"])
    steps: list[Record] = [
        {"class_name": "Rescaling", "config": {"name": f"{name}_slope", "scale": 0.2, "offset": 0.5}},
        {"class_name": "ReLU", "config": {"name": f"{name}_clip", "max_value": 1.0}},
    ]
    if record["class_name"] != "Activation":
        inner = {**old, "activation": "linear", "name": f"{name}_inner"}
        steps.insert(0, {"class_name": record["class_name"], "config": inner})
    record["class_name"] = "Sequential"
    record["config"] = {"name": name, "layers": steps}
    job.notes.add("the hard_sigmoid of Keras 2 was spelled out; Keras 3 has another function of that name", name)
