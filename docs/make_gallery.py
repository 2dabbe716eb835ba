"""Makes the pages of docs/gallery and the table of docs/gallery.md: reports of well-known architectures and of the
trained models that are shipped.

    python docs/make_gallery.py [NAME ...]

The architectures are those of keras.applications with fresh weights, at alpha 0.5 and not calibrated: what they show is
which layers become what, and what that saves. The shipped models are trained: theirs show a calibration and accuracy.
All of it takes about ten minutes; ``NAME``: of the models to make again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "docs" / "gallery"
FIGURES, PAGE = GALLERY / "figures.json", ROOT / "docs" / "gallery.md"
MARKERS = ("<!-- gallery -->", "<!-- /gallery -->")
NETS = (
    "VGG16",
    "ResNet50",
    "ResNet50V2",
    "InceptionV3",
    "Xception",
    "MobileNetV2",
    "DenseNet121",
    "EfficientNetB0",
    "NASNetMobile",
    "ConvNeXtTiny",
)
BUDGET = 120
TEST_IMAGES = "fashion_test_200.npz"


@dataclass(frozen=True)
class Entry:
    """One model of the gallery.

    Attributes:
        name: of a file in fixtures/, or in keras.applications.
        size: side of its images; 0: a shipped model.
        preprocess: what a shipped model expects to be done with bytes.
    """

    name: str
    size: int = 0
    preprocess: str | None = None


ENTRIES = (
    Entry("fashion_cnn.h5"),
    Entry("fashion_deep.keras", preprocess="1/255,0"),
    *(Entry(name, 299 if name in ("InceptionV3", "Xception") else 224) for name in NETS),
)


def main() -> None:
    names = sys.argv[1:]
    unknown = set(names) - {entry.name for entry in ENTRIES}
    if unknown:
        sys.exit(f"{sorted(unknown)[0]}: no model of the gallery; there are {', '.join(e.name for e in ENTRIES)}")
    GALLERY.mkdir(exist_ok=True)
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    for entry in ENTRIES:
        if not names or entry.name in names:
            print(entry.name, flush=True)
            command = [sys.executable, __file__, "--child", entry.name]
            made = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            figures[entry.name] = json.loads(made.stdout.splitlines()[-1])
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(with_table(PAGE.read_text(), figures))


def with_table(page: str, figures: dict[str, dict[str, float]]) -> str:
    """The page with the table of these figures between its markers."""
    before, rest = page.split(MARKERS[0])
    rows = ["| model | convolutions | of their MACs | MACs | activation memory |", "|---|---|---|---|---|"]
    for entry in ENTRIES:
        if entry.name in figures:
            of = figures[entry.name]
            rows.append(
                f"| [{entry.name}](gallery/{Path(entry.name).stem}.html) | {of['converted']} of {of['convolutions']} "
                f"| {of['share']:.1%} | {of['macs']:.1%} | {of['activation_memory']:.1%} |"
            )
    return f"{before}{MARKERS[0]}\n" + "\n".join(rows) + f"\n{MARKERS[1]}{rest.split(MARKERS[1])[1]}"


def make(name: str) -> dict[str, float]:
    """The page of one model, in a process of its own: its memory is free again when it ends. Returns its figures."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    import octconvert

    entry = next(entry for entry in ENTRIES if entry.name == name)
    keras.utils.set_random_seed(0)
    if entry.size:
        model = getattr(keras.applications, name)(weights=None, input_shape=(entry.size, entry.size, 3))
        result = octconvert.convert(model, alpha=0.5, calibration=False)
    else:
        options = {"preprocess": entry.preprocess, "calibration_budget": BUDGET}
        result = octconvert.convert(f"fixtures/{name}", alpha=0.5, evaluate=f"fixtures/{TEST_IMAGES}", **options)
    result.to_html(GALLERY / f"{Path(name).stem}.html", overwrite=True)
    report = result.report
    return {
        "converted": len(report.converted),
        "convolutions": len(report.convolutions),
        "share": report.octave_mac_share,
        "macs": report.after.macs / report.before.macs,
        "activation_memory": report.after.activation_bytes / report.before.activation_bytes,
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(make(sys.argv[2])))
    else:
        main()
