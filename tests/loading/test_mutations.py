"""Random changes of real files: each ends in one line or in a model, soon and in little memory."""

from __future__ import annotations

import copy
import io
import json
import random
import select
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from edited_files import saved
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

LEGACY = Path(__file__).parents[2] / "fixtures" / "legacy"
DEEP = ("mobilenet", "operations")  # slow to build, and nothing is in them that is not in others
FILES = sorted(p.name for p in LEGACY.iterdir() if p.suffix in (".h5", ".keras") and not any(n in p.name for n in DEEP))
FILES += ["today.h5", "today.keras"]
SECONDS = 60
MOST = 2 * 10**9
VALUES = [
    None,
    True,
    0,
    -1,
    1,
    3,
    1000,
    10**6,
    10**9,
    2**31,
    2**63,
    10**30,
    1e308,
    float("nan"),
    "",
    "x",
    "relu",
    [],
    {},
]
VALUES += [[None], [0, 0], [10**6, 10**6], {"class_name": "Dense", "config": {}}, [[["x", 0, 0]]], "../../etc/passwd"]

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory as Linux does")


class Worker:
    """A process that reads files; a new one where it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def ask(self, path: Path, convert: bool) -> tuple[str, str]:
        """What came of the file: a model, a line, or what must not be."""
        process = self._process or self._start()
        before = self._memory("VmRSS")
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # the highest use is counted from here
        print(json.dumps({"path": str(path), "convert": convert}), file=process.stdin, flush=True)
        answer = self._answer()
        if answer is None:
            return self._ended()
        growth = self._memory("VmHWM") - before
        if growth > MOST:
            return "too much memory", f"{growth / 1e9:.1f} GB more; {answer}"
        return json.loads(answer)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen:
        script = Path(__file__).with_name("mutation_worker.py")
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, script], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        assert self._answer(600) == "ready\n"
        return self._process

    def _answer(self, seconds: int = SECONDS) -> str | None:
        assert self._process is not None and self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return (self._process.stdout.readline() or None) if ready else None

    def _ended(self) -> tuple[str, str]:
        assert self._process is not None
        code = self._process.poll()
        self.close()
        return ("no end", f"after {SECONDS} s") if code is None else ("a death", f"exit code {code}")

    def _memory(self, key: str) -> int:
        assert self._process is not None
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    found = Worker()
    yield found
    found.close()


# -- mutations: each changes the bytes of a file -----------------------------------------------------------------------


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        changed[_place(changed, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def zeroed(data: bytes, rng: random.Random) -> bytes:
    start = _place(data, rng)
    end = min(len(data), start + rng.choice([1, 8, 64, 512, 4096]))
    return data[:start] + bytes(end - start) + data[end:]


def moved(data: bytes, rng: random.Random) -> bytes:
    """A piece of the file written over another one."""
    size = rng.choice([4, 8, 64, 512])
    source, target = _place(data, rng), _place(data, rng)
    piece = data[source : source + size]
    return data[:target] + piece + data[target + len(piece) :]


def _place(data: bytes, rng: random.Random) -> int:
    """Anywhere, and as often near the beginning, where the headers are, or near the end, where a zip's are."""
    return rng.choice([rng.randrange(len(data)), rng.randrange(min(len(data), 8192)), len(data) - rng.randint(1, 600)])


BYTES = [flipped, cut, zeroed, moved]


def linked(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice(_objects(file))
    links = [h5py.SoftLink("/"), h5py.SoftLink(f"/{name}"), h5py.ExternalLink("/etc/passwd", "/"), file["/"]]
    del file[name]
    file[name] = rng.choice(links)


def outside(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice(_datasets(file))
    shape = file[name].shape
    del file[name]
    if rng.random() < 0.5:
        file.create_dataset(name, shape or (1,), "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    else:
        layout = h5py.VirtualLayout(shape or (1,), "f4")
        layout[...] = h5py.VirtualSource("other.h5", "x", shape or (1,))
        file.create_virtual_dataset(name, layout)


def reshaped(file: h5py.File, rng: random.Random) -> None:
    name = rng.choice(_datasets(file))
    shape = list(file[name].shape) or [1]
    shape[rng.randrange(len(shape))] = rng.choice([0, 1, 2, 7, 10**4, 10**9, 10**12])
    if rng.random() < 0.3:
        shape = [*shape[::-1], 1]
    del file[name]
    kind = rng.choice(["f4", "f4", "f8", "f2", "i8", "u1", ">f4", "S8", h5py.string_dtype(), "c8"])
    file.create_dataset(name, shape, kind, chunks=tuple(min(max(n, 1), 64) for n in shape))


def deleted(file: h5py.File, rng: random.Random) -> None:
    del file[rng.choice(_objects(file))]


def named(file: h5py.File, rng: random.Random) -> None:
    places = [file, *(file[name] for name in _objects(file))]
    place, key = rng.choice([(place, key) for place in places for key in place.attrs])
    value = place.attrs[key]
    names = list(value) if isinstance(value, np.ndarray) and value.ndim else []
    changes = [None, "x", b"\xff\xfe", 7, np.nan, h5py.Empty("f4"), [b"x"] * 3, np.zeros((2, 2))]
    if names:
        changes += [names[:-1], names[::-1], names + names[:1], [b"../x", *names[1:]], [b"", *names[1:]]]
    change = rng.choice(changes)
    del place.attrs[key]
    if change is not None:
        place.attrs[key] = change


HDF5 = [linked, outside, reshaped, deleted, named]


def _objects(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def _datasets(file: h5py.File) -> list[str]:
    return [name for name in _objects(file) if isinstance(file[name], h5py.Dataset)]


def configured(record: dict, rng: random.Random) -> None:
    """One place of the architecture deleted, replaced or doubled."""
    place, key = rng.choice(list(_places(record)))
    change = rng.choice(["value", "value", "value", "delete", "rename", "double", "swap"])
    if change == "value":
        place[key] = copy.deepcopy(rng.choice(VALUES))
    elif change == "delete":
        del place[key]
    elif change == "rename" and isinstance(place, dict):
        place[f"{key}_"] = place.pop(key)
    elif change == "double" and isinstance(place, list):
        place.append(copy.deepcopy(place[key]))
    elif change == "swap":
        other, at = rng.choice(list(_places(record)))
        place[key] = copy.deepcopy(other[at])


def _places(data) -> Iterator[tuple]:
    """Every place that holds a value, those of single values as often as all the others together."""
    for key in list(data) if isinstance(data, dict) else range(len(data)):
        yield data, key
        if isinstance(data[key], dict | list):
            yield from _places(data[key])


def changed_inside(data: bytes, change: Callable, rng: random.Random, configuration: bool) -> bytes:
    """The file with a change of its HDF5 file or of its architecture."""
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = "config.json" if configuration else "model.weights.h5"
        new = _changed_json if configuration else _changed_hdf5
        members[name] = new(members[name], change, rng)
        result = io.BytesIO()
        with zipfile.ZipFile(result, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return result.getvalue()
    if not configuration:
        return _changed_hdf5(data, change, rng)

    def in_attribute(file: h5py.File, rng: random.Random) -> None:
        file.attrs["model_config"] = _changed_json(file.attrs["model_config"], change, rng)

    return _changed_hdf5(data, in_attribute, rng)


def _changed_json(text: str | bytes, change: Callable, rng: random.Random) -> bytes:
    record = json.loads(text)
    change(record, rng)
    return json.dumps(record).encode()


def _changed_hdf5(data: bytes, change: Callable, rng: random.Random) -> bytes:
    stream = io.BytesIO(data)
    with h5py.File(stream, "r+") as file:
        change(file, rng)
    return stream.getvalue()


FAMILIES = {
    "bytes": lambda data, rng: rng.choice(BYTES)(data, rng),
    "HDF5": lambda data, rng: changed_inside(data, rng.choice(HDF5), rng, configuration=False),
    "architecture": lambda data, rng: changed_inside(data, configured, rng, configuration=True),
    "two changes": lambda data, rng: changed_inside(
        changed_inside(data, configured, rng, configuration=True), configured, rng, configuration=True
    ),
}


COUNTS = {"bytes": 400, "HDF5": 250, "architecture": 250, "two changes": 100}


def content(name: str) -> bytes:
    """The file of that name, or one that this Keras writes."""
    return saved(name.split(".")[1]) if name.startswith("today") else (LEGACY / name).read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_a_mutated_file_is_refused_in_one_line_or_loaded(family, worker, tmp_path):
    failed: dict[str, str] = {}

    @settings(
        max_examples=COUNTS[family], deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.sampled_from(FILES), st.integers(0, 2**32), st.integers(0, 9))
    def change(source: str, seed: int, use: int) -> None:
        try:
            data = FAMILIES[family](content(source), random.Random(seed))
        except (OSError, ValueError, LookupError, TypeError, RuntimeError):
            return  # h5py itself does not write this
        path = tmp_path / f"changed{Path(source).suffix}"
        path.write_bytes(data)
        result, line = worker.ask(path, convert=use == 0)
        if result not in ("a model", "a line") or "\n" in line or len(line) > 700:
            failed[f"{source}, seed {seed}, use {use}"] = f"{result}: {line}"

    change()
    assert not failed, failed
