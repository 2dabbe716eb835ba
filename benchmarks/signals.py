"""Accuracy and MACs of a converted network of signals (Conv1D), a causal one, and one of videos (Conv3D).

    python benchmarks/signals.py [TASK ...] [--alpha 0.5] [--samples 256] [--budget SECONDS] [--keep FOLDER]

The networks are trained here, on data that are generated. *signals*: 512 steps in 1/f noise, whose class is the wave in
them. *pitches*: 128 steps in noise; a causal network (TCN) says at each step which of four pitches is on. *videos* of
16x32x32, whose class is a glyph and the direction in which it moves. Then each is converted in
three ways: weights moved alone, calibrated without data, and calibrated on some unlabelled samples. Accuracy is
measured on samples that nothing was trained or fitted to. All seeds are fixed; ``--keep`` saves the trained networks
for the next run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers

import octconvert

LENGTH, FRAMES, SIDE = 512, 16, 32
WAVES = ("tone", "rising", "falling", "beating", "square", "saw up", "saw down", "clicks")
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))
DRAWN = (
    "##### ..#.. ..#.. ..#.. ..#..",
    "..#.. ..#.. ##### ..#.. ..#..",
    "##### #...# #...# #...# #####",
    "#.... #.... #.... #.... #####",
)
GLYPHS = len(DRAWN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS), help="signals, pitches, videos; default: all")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--samples", type=int, default=256, help="unlabelled samples to calibrate on")
    parser.add_argument("--budget", type=float, help="seconds of a calibration; default: octconvert's own")
    parser.add_argument("--keep", type=Path, help="a folder for the trained networks")
    arguments = parser.parse_args()
    for name in arguments.tasks:
        _measure(name, arguments)


def _measure(name: str, arguments: argparse.Namespace) -> None:
    make, network, (training, epochs), test_count = TASKS[name]
    test, labels = make(test_count, 2)
    source = _trained(name, make(training, 1), network, epochs, arguments.keep)
    own = make(arguments.samples, 3)[0]
    before = _accuracy(source, test, labels)
    print(f"{name}: {before:.2%} on {test_count:,} samples", flush=True)
    ways = {"weights moved alone": False, "no data": None, f"{arguments.samples} samples": own}
    for way, data in ways.items():
        started = time.monotonic()
        budget = {} if data is False else {"calibration_budget": arguments.budget}
        result = octconvert.convert(source, alpha=arguments.alpha, calibration=data, **budget)
        seconds = time.monotonic() - started
        after, share = _accuracy(result.model, test, labels), result.after.macs / result.before.macs
        print(f"  {way}: {after:.2%} ({100 * (after - before):+.2f}), {share:.0%} of the MACs, {seconds:.0f} s")
        report = result.report.calibration
        for step in () if report is None else report.steps:
            print(f"      {step.name} {step.seconds:.1f} s{'' if step.kept else ', not kept'}: {step.detail}")
        if data is not False:
            print("".join(f"      {note}\n" for note in result.report.notes), end="", flush=True)


def _accuracy(model: keras.Model, inputs: np.ndarray, labels: np.ndarray) -> float:
    return float((model.predict(inputs, batch_size=64, verbose=0).argmax(axis=-1) == labels).mean())


def _trained(name: str, data: tuple, network, epochs: int, folder: Path | None) -> keras.Model:
    path = None if folder is None else folder / f"{name}.keras"
    if path is not None and path.exists():
        return keras.models.load_model(path)
    keras.utils.set_random_seed(0)
    inputs, labels = data
    steps = epochs * (len(inputs) // 32)
    model = network()
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=3e-3, warmup_steps=steps // 10)
    model.compile(keras.optimizers.AdamW(rate), "sparse_categorical_crossentropy")
    started = time.monotonic()
    model.fit(inputs, labels, batch_size=32, epochs=epochs, verbose=0)
    print(f"{name}: trained for {time.monotonic() - started:.0f} s", flush=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
    return model


# --- signals --------------------------------------------------------------------------------------------------------


def signals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, LENGTH, 1) and the class of each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(WAVES), size=count)
    time = np.arange(LENGTH)[None]
    width = rng.uniform(35, 90, (count, 1))
    since = time - rng.uniform(100, LENGTH - 100, (count, 1))
    sweep = np.array([0, 1, -1, 0, 0, 0, 0, 0])[labels][:, None] * rng.uniform(0.25, 0.45, (count, 1))
    cycles = rng.uniform(0.04, 0.12, (count, 1)) * since * (1 + sweep * np.clip(since / width, -2, 2) / 2)
    cycles += rng.random((count, 1))
    saw = 2 * (cycles % 1) - 1
    sine = np.sin(2 * np.pi * cycles)
    beats = sine * (1 + np.cos(2 * np.pi * cycles / rng.uniform(3, 5, (count, 1)))) / 1.2
    clicks = 3 * np.exp(-0.5 * (saw / 0.12) ** 2) - 0.45
    kinds = np.stack([sine, sine, sine, beats, 0.8 * np.sign(sine), saw, -saw, clicks])
    wave = kinds[labels, np.arange(count)] * np.exp(-0.5 * (since / width) ** 2)
    spectrum = np.fft.rfft(rng.standard_normal((count, LENGTH)))
    spectrum *= np.maximum(np.fft.rfftfreq(LENGTH), 1 / LENGTH) ** -rng.uniform(0.3, 0.8, (count, 1))
    noise = np.fft.irfft(spectrum, LENGTH)
    noise /= noise.std(axis=1, keepdims=True)
    x = rng.uniform(*LOUDNESS, (count, 1)) * wave + noise
    x *= np.exp(0.3 * rng.standard_normal((count, 1)))
    return x[..., None].astype("float32"), labels


LOUDNESS = 1.2, 3.0
"""Of the waves, in deviations of the noise."""


def signal_network() -> keras.Model:
    inputs = keras.Input((LENGTH, 1))
    x = _normalized(layers.Conv1D(16, 7, padding="same", use_bias=False)(inputs))
    x = layers.MaxPooling1D(2)(x)
    for width, strides in ((16, 1), (32, 2), (64, 2)):
        y = _normalized(layers.Conv1D(width, 5, strides, padding="same", use_bias=False)(x))
        y = layers.BatchNormalization()(layers.Conv1D(width, 5, padding="same", use_bias=False)(y))
        if strides > 1:
            x = layers.BatchNormalization()(layers.Conv1D(width, 1, strides, use_bias=False)(x))
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, layers.Dense(len(WAVES), activation="softmax")(x), name="signals")


def _normalized(x):
    return layers.ReLU()(layers.BatchNormalization()(x))


# --- pitches --------------------------------------------------------------------------------------------------------

STEPS, PERIODS = 128, (3.1, 5.0, 9.0, 17.0)


def pitches(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, STEPS, 2), and at each step the number of the period that is on."""
    rng = np.random.default_rng(seed)
    x, labels = np.zeros((count, STEPS, 2)), np.zeros((count, STEPS), int)
    for signal, classes in zip(x, labels, strict=True):
        start = 0
        while start < STEPS:
            stop, label = min(start + rng.integers(20, 50), STEPS), rng.integers(len(PERIODS))
            phase = 2 * np.pi * (np.arange(stop - start) / PERIODS[label] + rng.random())
            signal[start:stop] = np.stack([np.sin(phase), rng.choice([-1, 1]) * np.cos(phase)], axis=1)
            classes[start:stop], start = label, stop
    return (x + 0.6 * rng.standard_normal(x.shape)).astype("float32"), labels


def pitch_network() -> keras.Model:
    inputs = x = keras.Input((STEPS, 2))
    for dilation in (1, 2, 4, 8):
        y = x
        for _ in range(2):
            y = _normalized(layers.Conv1D(32, 3, padding="causal", dilation_rate=dilation)(y))
            y = layers.SpatialDropout1D(0.05)(y)
        x = layers.ReLU()(layers.Add()([layers.Conv1D(32, 1)(x) if dilation == 1 else x, y]))
    return keras.Model(inputs, layers.Conv1D(len(PERIODS), 1, activation="softmax")(x), name="pitches")


# --- videos ---------------------------------------------------------------------------------------------------------


def videos(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, FRAMES, SIDE, SIDE, 1) in 0..1, and the class of each: its glyph and direction."""
    rng = np.random.default_rng(seed)
    glyphs = _glyphs()
    labels = rng.integers(GLYPHS * len(DIRECTIONS), size=count)
    x = np.empty((count, FRAMES, SIDE, SIDE), "float32")
    for video, label in zip(x, labels, strict=True):
        y = rng.uniform(0.2, 0.5) + 0.08 * _clouds(rng)
        step = np.array(DIRECTIONS[label // GLYPHS]) * rng.uniform(0.5, 1.2) + rng.normal(0, 0.12, 2)
        middle = (SIDE - glyphs.shape[1]) / 2 + rng.uniform(-5, 5, 2)
        brightness = rng.uniform(0.2, 0.5)
        other, place, slow = rng.integers(3, 7), rng.uniform(0, SIDE - 7, 2), rng.normal(0, 0.25, 2)
        for number in range(FRAMES):
            video[number] = y
            _add(video[number], np.ones((other, other)), place + slow * number, 0.5 * brightness)
            _add(video[number], glyphs[label % GLYPHS], middle + step * (number - FRAMES / 2), brightness)
        video += 0.1 * rng.standard_normal(video.shape)
    return np.clip(x, 0, 1)[..., None], labels


def _glyphs() -> np.ndarray:
    """(GLYPHS, 10, 10)."""
    rows = [[[mark == "#" for mark in row] for row in glyph.split()] for glyph in DRAWN]
    return np.kron(np.array(rows, "float32"), np.ones((2, 2)))


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE))
    frequency[0, 0] = 1.0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) / frequency**1.5, s=(SIDE, SIDE))
    return (noise - noise.mean()) / noise.std()


def _add(frame: np.ndarray, shape: np.ndarray, place: np.ndarray, brightness: float) -> None:
    """Add a shape, at whole pixels, as far as it lies within the frame."""
    top, left = np.round(place).astype(int)
    rows, columns = (np.arange(size) + start for size, start in zip(shape.shape, (top, left), strict=True))
    inside = np.ix_((rows >= 0) & (rows < SIDE), (columns >= 0) & (columns < SIDE))
    part = shape[inside]
    if part.size:
        frame[max(top, 0) : max(top, 0) + part.shape[0], max(left, 0) : max(left, 0) + part.shape[1]] += (
            brightness * part
        )


def video_network() -> keras.Model:
    inputs = keras.Input((FRAMES, SIDE, SIDE, 1))
    x = _normalized(layers.Conv3D(8, 3, strides=(1, 2, 2), padding="same", use_bias=False)(inputs))
    for width, strides in ((8, 1), (16, 2), (24, 1)):
        y = _normalized(layers.Conv3D(width, 3, strides, padding="same", use_bias=False)(x))
        y = layers.BatchNormalization()(layers.Conv3D(width, 3, padding="same", use_bias=False)(y))
        if x.shape[-1] != width:
            x = layers.BatchNormalization()(layers.Conv3D(width, 1, strides, use_bias=False)(x))
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling3D()(x))
    classes = GLYPHS * len(DIRECTIONS)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x), name="videos")


TASKS = {
    "signals": (signals, signal_network, (8_000, 10), 4_000),
    "pitches": (pitches, pitch_network, (4_000, 10), 1_000),
    "videos": (videos, video_network, (2_000, 10), 1_600),
}
"""Data, network, samples and epochs of its training, samples of the test."""

if __name__ == "__main__":
    main()
