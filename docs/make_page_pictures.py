"""Makes docs/assets/page-*.png, the pictures of HTML reports in docs/reports.md, with Debian's Chromium.

    python docs/make_page_pictures.py

It needs `pip install -e '.[dev]'` and takes about five minutes. Nothing else should run meanwhile: a calibration that
runs out of time says so in its report. ``--page FILE`` takes the pictures of an existing page of that model.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "docs" / "assets"
COMMAND = "octconvert model.h5 --alpha 0.5 --evaluate test.npz --calibration-budget 240 --html report.html"
FILES = {"model.h5": "fashion_cnn.h5", "test.npz": "fashion_test_200.npz"}
LAYER = "conv4"
"""The one whose details are seen beside the graph."""


def main() -> None:
    if "--page" in sys.argv:
        _take(Path(sys.argv[sys.argv.index("--page") + 1]).resolve())
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, fixture in FILES.items():
            Path(folder, name).write_bytes((ROOT / "fixtures" / fixture).read_bytes())
        variables = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-m", *COMMAND.split()], cwd=folder, env=variables, check=True)
        _take(Path(folder, "report.html"))


def _take(report: Path) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])

        def opened(width: int, height: int, scheme: str) -> Page:
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore
            page = context.new_page()
            page.goto(report.as_uri())
            return page

        opened(1280, 860, "light").screenshot(path=ASSETS / "page-light.png")
        page = opened(1280, 900, "dark")
        page.locator(f"tr[data-layer='{LAYER}'] td").first.click()
        page.locator("#graph").screenshot(path=ASSETS / "page-graph-dark.png")
        opened(390, 844, "light").screenshot(path=ASSETS / "page-phone.png")
        browser.close()


if __name__ == "__main__":
    main()
