"""Targets: what may be one, what it is replaced by, and what is there whenever the process ends."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from keras import layers

import octconvert
from octconvert.errors import UsageError
from octconvert.options.delivery import MODEL_SUFFIXES
from octconvert.system import targets
from octconvert.verification import keras_files
from octconvert.verification.exporting import check_export_target, format_of


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def everything(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


# ---- what may be a target


def check_model(path: Path) -> None:
    keras_files.check_model_target(path, overwrite=True)


def check_file(path: Path) -> None:
    check_export_target(format_of(path), path, True)


def check_directory(path: Path) -> None:
    check_export_target(format_of(path, "tf"), path, True)


TARGETS = {"m.keras": check_model, "m.h5": check_model, "m.onnx": check_file, "m.xml": check_file, "m": check_directory}


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def link_to_device(path: Path) -> None:
    path.symlink_to(os.devnull)


def link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def two_links_in_a_circle(path: Path) -> None:
    path.symlink_to("other")
    path.with_name("other").symlink_to(path.name)


def link_into_nowhere(path: Path) -> None:
    path.symlink_to(path.with_name("missing") / path.name)


UNUSABLE = {
    make_pipe: "is a pipe",
    make_socket: "is a socket",
    link_to_device: "is a device",
    link_to_pipe: "is a pipe",
    link_to_itself: "can not be written",
    two_links_in_a_circle: "can not be written",
    link_into_nowhere: "there is no directory",
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("make", UNUSABLE, ids=lambda make: make.__name__)
def test_what_is_no_file_or_directory_is_refused_by_name(tmp_path, monkeypatch, name, make):
    monkeypatch.chdir(tmp_path)  # the names of sockets must be short
    make(Path(name))
    before = names(tmp_path)
    with pytest.raises(UsageError) as caught:
        TARGETS[name](tmp_path / name)
    assert UNUSABLE[make] in str(caught.value) and name in str(caught.value) and "\n" not in str(caught.value)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    "name, reason",
    [
        ("a\0.keras", "can not be written"),
        ("\ud800.keras", "can not be written"),
        ("n" * 300 + ".keras", "can not be written"),
        ("line\nbreak/m.keras", "there is no directory"),
        ("file/m.keras", "there is no directory"),
    ],
)
def test_names_that_can_be_none_are_one_line(tmp_path, name, reason):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught:
        keras_files.check_model_target(tmp_path / name)
    assert reason in str(caught.value) and str(caught.value).isprintable()


def test_the_weights_of_a_pair_must_be_a_file_too(tmp_path):
    os.mkfifo(tmp_path / "m.bin")
    with pytest.raises(UsageError, match=r"m\.bin: is a pipe"):
        check_file(tmp_path / "m.xml")
    (tmp_path / "m.bin").unlink()
    (tmp_path / "m.xml").touch()
    (tmp_path / "m.bin").symlink_to("m.xml")
    with pytest.raises(UsageError, match="is the same file"):
        check_file(tmp_path / "m.xml")


@pytest.mark.parametrize("place", ["pipe.json", "device.json", "loop.json"])
def test_json_goes_to_regular_files_alone(tmp_path, command, place):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "device.json").symlink_to(os.devnull)
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "m.keras").write_bytes(b"PK\x03\x04")  # as a .keras file begins
    before = {path: path.lstat().st_mode for path in tmp_path.iterdir()}
    code, out, err = command(
        "diff", tmp_path / "m.keras", tmp_path / "m.keras", f"--json={tmp_path / place}", "--force"
    )
    assert (code, out) == (2, "") and place in err and err.count("\n") == 1
    assert {path: path.lstat().st_mode for path in tmp_path.iterdir()} == before


# ---- what a target is replaced by


@pytest.fixture
def model():
    image = keras.Input((5, 5, 2))
    return keras.Model(image, layers.Conv2D(3, 3)(image))


@pytest.mark.parametrize("ending", [".keras", ".h5", ".tflite", ".onnx", ".xml"])
def test_a_name_may_have_as_many_bytes_as_the_system_allows(model, tmp_path, ending):
    name = "\N{GRINNING FACE}" * ((255 - len(ending)) // 4) + ending
    if ending in MODEL_SUFFIXES:
        keras_files.save(model, tmp_path / name)
    else:
        pytest.importorskip({".tflite": "ai_edge_litert", ".onnx": "onnxruntime", ".xml": "openvino"}[ending])
        octconvert.export(model, tmp_path / name)
    assert name in names(tmp_path)


def test_text_takes_the_place_of_what_a_link_leads_to(tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "real.json").chmod(0o604)
    (tmp_path / "link.json").symlink_to("real.json")
    targets.write_atomically(tmp_path / "link.json", "new")
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "real.json").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "real.json").stat().st_mode) == 0o604
    assert names(tmp_path) == ["link.json", "real.json"]


@pytest.fixture
def directories(tmp_path):
    """An old directory, and a new one beside it."""
    for name in ("old", "new"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "file").write_text(name)
    (tmp_path / "old").chmod(0o705)
    return tmp_path


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_directory_takes_the_place_of_another(directories, monkeypatch, can_exchange):
    if not can_exchange:
        monkeypatch.setattr(targets, "exchange", lambda *_: False)
    targets.put_in_place(directories / "new", directories / "old")
    assert (directories / "old" / "inner" / "file").read_text() == "new"
    assert stat.S_IMODE((directories / "old").stat().st_mode) == 0o705
    assert names(directories) == (["new", "old"] if can_exchange else ["old"])  # an exchange leaves the old one there


def test_two_names_are_exchanged(directories):
    if not targets.exchange(directories / "new", directories / "old"):
        pytest.skip("this file system can not exchange names")
    assert [(directories / name / "inner" / "file").read_text() for name in ("new", "old")] == ["old", "new"]
    with pytest.raises(OSError, match="old"):
        targets.exchange(directories / "missing", directories / "old")


def test_an_old_directory_comes_back_where_the_new_one_can_not_be_moved(directories, monkeypatch):
    monkeypatch.setattr(targets, "exchange", lambda *_: False)
    real = os.replace

    def replace(first, second):
        if Path(first).name == "new":
            raise OSError("no")
        real(first, second)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="no"):
        targets.put_in_place(directories / "new", directories / "old")
    assert (directories / "old" / "inner" / "file").read_text() == "old" and names(directories) == ["new", "old"]


KILLED = """
import os, signal, sys
from pathlib import Path
from octconvert.system import targets
left = int(sys.argv[1])
def counted(real):
    def call(*arguments):
        global left
        result = real(*arguments)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
os.replace, os.rename, targets.exchange = map(counted, (os.replace, os.rename, targets.exchange))
targets.put_in_place(Path("new"), Path("target"))
"""


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_killed_after_any_rename_the_old_or_the_new_one_is_there(tmp_path, kind):
    if kind == "directory" and not _exchanges(tmp_path):
        pytest.skip("this file system can not exchange names")
    contents = set()
    for count in (1, 2):
        folder = tmp_path / str(count)
        for name in ("new", "target"):
            path = folder / name / "part" if kind == "directory" else folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        ended = subprocess.run([sys.executable, "-c", KILLED, str(count)], cwd=folder, capture_output=True)
        assert ended.returncode == (-signal.SIGKILL if count == 1 else 0), ended.stderr
        found = folder / "target" / "part" if kind == "directory" else folder / "target"
        contents.add(found.read_text())
    assert contents == {"new"}  # the first rename is the last


def _exchanges(folder: Path) -> bool:
    for name in ("first", "second"):
        (folder / name).mkdir()
    return targets.exchange(folder / "first", folder / "second")


# ---- a disk that is full

FULL = """
import resource, sys
from pathlib import Path
import keras
from keras import layers
import octconvert
from octconvert.verification import keras_files

image = keras.Input((16, 16, 3), name="image")
small = keras.Model(image, layers.Conv2D(4, 3)(image))
large = keras.Model(image, layers.Conv2D(256, 3)(layers.Conv2D(128, 3)(image)))
formats = {"net.tflite": "litert", "net.onnx": "onnx", "net.xml": "openvino", "net": "tf"}

def write(model, name, **options):
    if name in formats:
        octconvert.export(model, name, format=formats[name], **options)
    else:
        keras_files.save(model, name, **options)

for name in sys.argv[1:]:
    write(small, name)
before = {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
for name in sys.argv[1:]:
    try:
        write(large, name, overwrite=True)
    except octconvert.UsageError as error:
        print(error)
    assert before == {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}, name
assert not [path for path in Path().iterdir() if path.name.startswith(".")]
"""


@pytest.mark.long
def test_where_files_can_not_grow_every_target_stays_as_it_was(tmp_path):
    """A limit on the size of files stands for a disk that is full: the system refuses to write as well."""
    targets = ["net.keras", "net.h5", "net"]
    needed = {"net.tflite": "ai_edge_litert", "net.onnx": "onnxruntime", "net.xml": "openvino"}
    for name, module in needed.items():
        try:
            __import__(module)
        except ImportError:
            continue
        targets.append(name)
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(
        [sys.executable, "-c", FULL, *targets], cwd=tmp_path, env=quiet, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    expected = [f"{name}: can not be written (File too large); choose another place" for name in targets]
    assert [line for line in ended.stdout.splitlines() if "can not" in line] == expected
