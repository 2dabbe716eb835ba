"""Fetches the JavaScript libraries that HTML reports contain, in pinned versions.

    python .ci/fetch_scripts.py           # needs npm
    python .ci/fetch_scripts.py --pin     # after a version was changed: write the new checksums, too

They lie in octconvert/display/html/scripts/, so neither building nor using the package needs the network. `pins.json`
there names package, version, file and SHA-256 of each; NOTICE.txt holds their licences.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PLACE = Path(__file__).parents[1] / "octconvert" / "display" / "html" / "scripts"
PINS = PLACE / "pins.json"
HEAD = """HTML reports of octconvert contain these libraries, unchanged but for the line that names a source map.
Each is named with its version, its licence and the text of that licence.
"""


def main() -> None:
    pins = json.loads(PINS.read_text(encoding="utf-8"))
    licences: dict[str, list[str]] = {}
    for pin in pins:
        with tempfile.TemporaryDirectory() as folder:
            package = _package(pin, Path(folder))
            content = _without_map(_member(package, pin["path"]))
            licence = _member(package, pin["licence_file"]).decode().strip()
            kind = json.loads(_member(package, "package.json"))["license"]
        digest = hashlib.sha256(content).hexdigest()
        if "--pin" in sys.argv:
            pin["sha256"] = digest
        if digest != pin["sha256"]:
            sys.exit(f"{pin['package']} {pin['version']}: {pin['path']} has SHA-256 {digest}, not {pin['sha256']}")
        (PLACE / pin["file"]).write_bytes(content)
        licences.setdefault(licence, []).append(f"{pin['package']} {pin['version']} ({kind})")
    texts = (f"{'=' * 80}\n{chr(10).join(names)}\n{'=' * 80}\n\n{text}\n" for text, names in licences.items())
    (PLACE / "NOTICE.txt").write_text("\n".join([HEAD, *texts]), encoding="utf-8")
    PINS.write_text(json.dumps(pins, indent=2) + "\n", encoding="utf-8")


def _package(pin: dict[str, str], folder: Path) -> Path:
    """The archive of a package, as npm packs it."""
    argv = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{pin['package']}@{pin['version']}"]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.tgz"))


def _member(package: Path, name: str) -> bytes:
    with tarfile.open(package) as archive:
        file = archive.extractfile(f"package/{name}")
        assert file is not None, name
        return file.read()


def _without_map(content: bytes) -> bytes:
    """A page must not look for source maps, which are other files."""
    return re.sub(rb"\n?//# sourceMappingURL=\S+\s*$", b"", content.rstrip()) + b"\n"


if __name__ == "__main__":
    main()
