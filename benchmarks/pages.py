"""How large HTML reports are, and how fast they open in Debian's Chromium.

    python benchmarks/pages.py [MODEL ...]

Models are names of keras.applications (fresh weights) or files. "open" ends when the graph is drawn, "unfold" when all
layers of it are; medians of five.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
from playwright.sync_api import sync_playwright

import octconvert

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=("fixtures/fashion_cnn.h5", "ResNet50", "NASNetLarge"))
    for name in parser.parse_args().models:
        model = name if Path(name).exists() else getattr(keras.applications, name)(weights=None)
        report = octconvert.convert(model, calibration=False).report
        opened, unfolded = _times(report.to_html())
        size = len(report.to_html()) / 1000
        layers = len(report.graph.nodes)
        print(f"{name}: {layers:,} layers, {size:.0f} KB, open {opened:.2f} s, unfold {unfolded:.2f} s", flush=True)
        keras.backend.clear_session()


def _times(text: str) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder, "page.html")
        path.write_text(text, encoding="utf-8")
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        opened, unfolded = [], []
        for _ in range(ROUNDS):
            page = browser.new_page()
            opened.append(_seconds(lambda page=page: (page.goto(path.as_uri()), page.wait_for_selector(".node"))))
            unfolded.append(_seconds(page.locator("[data-act=unfold]").click))
            page.close()
        browser.close()
    return statistics.median(opened), statistics.median(unfolded)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
