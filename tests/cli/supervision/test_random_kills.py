"""60 kills at random moments: the target is whole, old or new, and nothing temporary stays where that can be helped."""

import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from running import is_gone, left_behind, start, wait_for

import octconvert
from octconvert.runtimes import find

pytestmark = [pytest.mark.long, pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")]


@dataclass(frozen=True)
class Job:
    """A command line that writes one target, and how often it is killed."""

    target: str
    kills: int
    runtime: str | None = None

    def argv(self, model: str) -> list[str]:
        if self.runtime is None:
            return [model, "-o", self.target, "--no-calibration", "-q"]
        directory = [] if Path(self.target).suffix else ["--format", self.runtime]
        return ["export", model, "-o", self.target, *directory, "-q"]

    def predict(self, folder: Path, images: np.ndarray) -> np.ndarray:
        if self.runtime is None:
            return np.asarray(octconvert.load(folder / self.target)(images))
        session = find(self.runtime).open(folder / self.target)
        return np.asarray(session({"image": images})[0])


JOBS = [
    Job("out.keras", 9),
    Job("out.h5", 9),
    Job("out.tflite", 8, "litert"),
    Job("out.onnx", 8, "onnx"),
    Job("out.xml", 9, "openvino"),
    Job("openvino", 8, "openvino"),
    Job("saved", 9, "tf"),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models with other weights."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("before", "after")):
        keras.utils.set_random_seed(seed)
        image = keras.Input((16, 16, 3), batch_size=1, name="image")
        x = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
        x = layers.Conv2D(16, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling2D()(x))).save(folder / f"{name}.keras")
    return folder


def names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()}


def worker_of(number: int) -> int | None:
    try:
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def kill(run, chance: random.Random) -> tuple[str, str]:
    """Send a signal to the parent, its worker or both; says which and to whom."""
    name = chance.choice(["KILL", "TERM", "INT"])
    worker = worker_of(run.process.pid)
    whom = chance.choice(["parent", "both"] if worker is None else ["parent", "both", "worker"])
    if worker is None and name == "KILL":  # nobody is there to tidy up, whoever is meant
        whom = "both"
    number = getattr(signal, f"SIG{name}")
    try:
        if whom == "worker":
            os.kill(worker, number)
        else:
            run.send(number, group=whom == "both")
    except ProcessLookupError:
        pass  # it has ended
    run.end()
    wait_for(lambda: worker is None or is_gone(worker))
    return name, whom


@pytest.mark.parametrize("job", JOBS, ids=[job.target for job in JOBS])
def test_a_target_is_whole_whenever_the_program_is_killed(models, tmp_path, job):
    images = np.random.default_rng(0).random((1, 16, 16, 3), "float32")
    folders, outputs, seconds = {}, {}, 0.0
    for model in ("before", "after"):
        folders[model] = Path(shutil.copytree(models, tmp_path / model))
        started = time.monotonic()
        code, _, error = start(folders[model], *job.argv(f"{model}.keras")).end()
        seconds = time.monotonic() - started
        assert code == 0, error
        outputs[model] = job.predict(folders[model], images)
    written = names(folders["before"]) - names(models)
    assert np.abs(outputs["before"] - outputs["after"]).max() > 1e-2

    chance = random.Random(job.target)
    for number in range(job.kills):
        force = chance.random() < 0.7
        folder = Path(shutil.copytree(folders["before"] if force else models, tmp_path / str(number)))
        run = start(folder, *job.argv("after.keras"), *(["--force"] if force else []))
        time.sleep(seconds * chance.choice([chance.uniform(0, 1), chance.uniform(0.7, 1.05)]))
        name, whom = kill(run, chance)

        if (name, whom) != ("KILL", "both"):
            wait_for(lambda folder=folder: names(folder) - names(models) <= written and left_behind(folder) == [])
        there = names(folder) - names(models)
        if force or there & written:
            output, possible = job.predict(folder, images), ["after", *(["before"] if force else [])]
            assert any(np.allclose(output, outputs[model], atol=1e-4) for model in possible)
