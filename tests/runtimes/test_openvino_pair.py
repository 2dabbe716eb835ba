"""An OpenVINO pair in the place of another: in every state in between a whole one is there."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from octconvert.runtimes import openvino_pair

openvino = pytest.importorskip("openvino")
RENAMES = 5


def make_pair(path: Path, value: int, count: int) -> None:
    """A model with ``count`` constants of each kind and some in inner graphs; its output is known by ``outcome``."""
    from openvino import opset13 as ops

    image, switch = ops.parameter([2, 3], np.float32, name="image"), ops.parameter([], np.bool_, name="switch")
    total = image
    for number in range(count):
        for kind in (np.float32, np.float16, np.int8):
            total = total + ops.convert(ops.constant(np.full((2, 3), value + number, kind)), "f32")
    branch = ops.if_op(switch)
    branches = []
    for factor in (value, value + 1):
        inner = ops.parameter([2, 3], np.float32)
        scaled = ops.result(inner * ops.constant(np.full((2, 3), factor, np.float32)))
        branches.append((openvino.Model([scaled], [inner]), inner))
    (first, first_in), (second, second_in) = branches
    branch.set_then_body(first)
    branch.set_else_body(second)
    branch.set_input(total.output(0), first_in, second_in)
    result = ops.result(branch.set_output(first.results[0], second.results[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(openvino.Model([result], [image, switch], "net"), path, compress_to_fp16=False)


def outcome(path: Path) -> tuple[float, ...]:
    compiled = openvino.Core().compile_model(path, "CPU")
    image = np.ones((2, 3), np.float32)
    outputs = (compiled([image, np.array(switch)]) for switch in (True, False))
    return tuple(float(np.unique(next(iter(found.values()))).item()) for found in outputs)


@pytest.fixture(scope="module", params=[(1, 3), (3, 1)], ids=["smaller", "larger"])
def pairs(request, tmp_path_factory):
    """Folders with an old pair and, in 'made', a new one; what both give."""
    folder = tmp_path_factory.mktemp("pairs")
    new, old = request.param
    make_pair(folder / "net.xml", 3, old)
    make_pair(folder / "made" / "model.xml", 7, new)
    return folder, outcome(folder / "net.xml"), outcome(folder / "made" / "model.xml")


@pytest.fixture
def folder(pairs, tmp_path):
    shutil.copytree(pairs[0], tmp_path / "copy")
    return tmp_path / "copy"


def replace(folder: Path) -> None:
    openvino_pair.put_in_place(folder / "made" / "model.xml", folder / "net.xml", folder / "net.bin")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_new_pair_is_there_and_nothing_else(pairs, folder):
    made = contents(folder / "made")
    (folder / "net.bin").chmod(0o604)
    replace(folder)
    assert contents(folder) == {"net.xml": made["model.xml"], "net.bin": made["model.bin"]}
    assert (folder / "net.bin").stat().st_mode & 0o777 == 0o604
    assert outcome(folder / "net.xml") == pairs[2] != pairs[1]


@pytest.mark.quick("smaller")
def test_killed_after_any_rename_a_whole_pair_is_there(pairs, folder):
    script = (
        "import os, signal, sys; from pathlib import Path; from octconvert.runtimes import openvino_pair\n"
        "real, left = os.replace, [int(sys.argv[1])]\n"
        "def replace(*names):\n"
        "    real(*names); left[0] -= 1\n"
        "    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.replace = replace\n"
        "openvino_pair.put_in_place(Path('made/model.xml'), Path('net.xml'), Path('net.bin'))\n"
    )
    seen = []
    for count in range(1, RENAMES + 2):
        place = folder.with_name(f"killed {count}")
        shutil.copytree(folder, place)
        ended = subprocess.run([sys.executable, "-c", script, str(count)], cwd=place, capture_output=True)
        assert ended.returncode == (-signal.SIGKILL if count <= RENAMES else 0), ended.stderr
        seen.append(outcome(place / "net.xml"))
    _, old, new = pairs
    assert seen == [old, new, new, new, new, new]


@pytest.mark.parametrize("number", range(RENAMES))
def test_a_rename_that_fails_leaves_the_old_pair_or_the_new_one(pairs, folder, monkeypatch, number):
    before, real, done = contents(folder), os.replace, []

    def failing(*names):
        done.append(names)
        if len(done) == number + 1:
            raise OSError("no")
        real(*names)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no"):
        replace(folder)
    if number < 2:
        assert contents(folder) == before
    else:
        assert contents(folder).keys() == before.keys() and outcome(folder / "net.xml") == pairs[2]


@pytest.mark.parametrize("number", range(RENAMES))
def test_an_interrupt_comes_when_the_new_pair_is_there(folder, monkeypatch, number):
    made, real, done = contents(folder / "made"), os.replace, []

    def interrupted(*names):
        real(*names)
        done.append(names)
        if len(done) == number + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace(folder)
    assert contents(folder) == {"net.xml": made["model.xml"], "net.bin": made["model.bin"]}


@pytest.mark.parametrize("left", [[], ["net.bin"], ["net.xml"]])
def test_where_no_whole_pair_was_the_description_comes_last(pairs, folder, monkeypatch, left):
    for name in {"net.bin", "net.xml"} - set(left):
        (folder / name).unlink()
    real, order = os.replace, []

    def recorded(old, new):
        real(old, new)
        order.append(Path(new).name)

    monkeypatch.setattr(os, "replace", recorded)
    replace(folder)
    assert order == ["net.bin", "net.xml"] and outcome(folder / "net.xml") == pairs[2]


def test_only_the_offsets_of_constants_are_moved(folder):
    rest = b"""<net name='x'><layers>
    <layer id="0" name="a type=&quot;Const&quot; >" type="PriorBox"><data offset="0" size="4"/></layer>
    <layer id="1" name="offset=&quot;9&quot; &gt;" type="Const">
        <data element_type="f32" shape="1" offset="%d" size="4"/><rt_info><data offset="3"/></rt_info></layer>
    <layer id="2" type="If"><data offset="5"/><then_body><layers>
        <layer type="Const" name="\xc3\xa9"><data offset="%d" size="4"/></layer></layers></then_body></layer>
    </layers></net>"""
    assert openvino_pair.with_moved_weights(rest % (8, 12), 128) == rest % (136, 140)
    real = (folder / "net.xml").read_bytes()
    moved = openvino_pair.with_moved_weights(real, 640)
    offsets = [[int(found) for found in re.findall(rb'offset="(\d+)"', text)] for text in (real, moved)]
    assert offsets[1] == [each + 640 for each in offsets[0]]
    assert openvino_pair.with_moved_weights(moved, -640) == real
