"""The memory that this process can have, in bytes."""

from __future__ import annotations

import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def total_bytes() -> int:
    """Memory that this process can have at most: of the machine, its control group, and its own limit."""
    sizes = [_machine(), _process(), *_groups()]
    return min((size for size in sizes if size), default=2**40)


def _machine() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has none of it
        return 0


def _process() -> int:
    try:
        import resource
    except ImportError:
        return 0
    limits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return min((limit for limit in limits if 0 < limit != resource.RLIM_INFINITY), default=0)


def _groups() -> list[int]:
    """The limits of the control group that this process is in, and of all above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            limits += _limits(CGROUPS, path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(CGROUPS / "memory", path, "memory.limit_in_bytes")
    return limits


def _limits(root: Path, path: str, name: str) -> list[int]:
    inner = Path(path.lstrip("/"))
    texts = []
    for folder in (inner, *inner.parents):
        try:
            texts.append((root / folder / name).read_text().strip())
        except OSError:
            continue
    return [int(text) for text in texts if text.isdigit()]
