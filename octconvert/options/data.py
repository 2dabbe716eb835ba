"""The kinds of files that data are read from."""

from __future__ import annotations

from pathlib import Path

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
NPY_BEGINS, NPZ_BEGINS = b"\x93NUMPY", b"PK"
NO_DATA = f"is neither .npz nor .npy, nor an image ({', '.join(IMAGE_ENDINGS)}) or a directory of them"
NO_IMAGES = f"a directory without images ({', '.join(IMAGE_ENDINGS)})"


def no_data(path: Path) -> str:
    """Why a file is none that data are read from."""
    ending = path.suffix.lower()
    return f"is not an {ending} file, or damaged: it begins otherwise" if ending in (".npz", ".npy") else NO_DATA
