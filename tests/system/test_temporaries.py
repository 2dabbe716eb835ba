"""What is temporary goes, however its block ends; renames are all done or none."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from octconvert.system import temporaries
from octconvert.system.temporaries import finish, move, temporary, temporary_folder


def _file(path):
    path.write_text("x")


def _tree(path):
    (path / "in").mkdir(parents=True)
    _file(path / "in" / "file")


@pytest.mark.parametrize("create", [_file, _tree, lambda path: None])
@pytest.mark.parametrize("ending", [None, ValueError, KeyboardInterrupt, SystemExit])
def test_a_temporary_goes_when_its_block_ends(tmp_path, create, ending):
    path = tmp_path / "temporary"
    try:
        with temporary(path) as given:
            assert given == path
            create(path)
            if ending:
                raise ending
    except BaseException as error:
        assert type(error) is ending
    assert list(tmp_path.iterdir()) == []


def test_a_link_goes_and_not_what_it_names(tmp_path):
    kept = tmp_path / "kept"
    _tree(kept)
    with temporary(tmp_path / "link") as link:
        link.symlink_to(kept)
    assert (kept / "in" / "file").exists() and not os.path.lexists(link)


def test_a_relative_path_is_meant_where_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with temporary(Path("name")) as path:
        _file(path)
        monkeypatch.chdir(tmp_path / "elsewhere")
    assert not (tmp_path / "name").exists()


def test_it_is_registered_before_the_block_and_until_it_is_gone(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(temporaries, "_listeners", [lambda kind, paths: said.append((kind, *paths))])
    path = tmp_path / "file"
    with temporary(path):
        assert said == [("temporary", str(path))]
        _file(path)
    assert said[1:] == [("removed", str(path))]


def test_a_folder_goes_with_its_owner(tmp_path, monkeypatch):
    monkeypatch.setattr(temporaries.tempfile, "tempdir", str(tmp_path))

    class Owner:
        pass

    owner = Owner()
    _tree(temporary_folder(owner) / "more")
    assert len(list(tmp_path.iterdir())) == 1
    del owner
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_removes_nothing_of_its_parent(tmp_path):
    with temporary(tmp_path / "file") as path:
        _file(path)
        child = os.fork()
        if child == 0:
            temporaries.remove_all()
            os._exit(0)
        os.waitpid(child, 0)
        assert path.exists()


_FILLS = """
import contextlib, itertools, os, pathlib, sys, threading
from octconvert.system import temporaries
folder = pathlib.Path(sys.argv[1])
def fill():
    for number in itertools.count():
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(exist_ok=True)
            (folder / str(number)).touch()
with temporaries.temporary(folder):
    threading.Thread(target=fill, daemon=True).start()
    while not folder.exists():
        pass
    temporaries.remove_all_at_end()
    os._exit(3)
"""


def test_what_another_thread_writes_until_the_end_goes_too(tmp_path):
    ended = subprocess.run([sys.executable, "-c", _FILLS, str(tmp_path / "folder")], timeout=60)
    assert ended.returncode == 3
    deadline = time.monotonic() + 60
    while (tmp_path / "folder").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(tmp_path.iterdir()) == []


def _pair(folder):
    """The renames that replace two files: those before go aside, the new ones come."""
    for name in ("new", "old"):
        (folder / name).mkdir()
    for name in ("a", "b"):
        (folder / name).write_text("before")
        (folder / "new" / name).write_text("after")
    aside = [(folder / name, folder / "old" / name) for name in ("a", "b")]
    return [*aside, *((folder / "new" / name, folder / name) for name in ("a", "b"))]


def test_renames_that_fail_are_taken_back(tmp_path):
    moves = _pair(tmp_path)
    (tmp_path / "new" / "b").unlink()
    with pytest.raises(OSError):
        move(moves)
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["before", "before"]


@pytest.mark.parametrize("done", range(5))
def test_renames_are_finished_from_wherever_they_stopped(tmp_path, done):
    moves = _pair(tmp_path)
    for old, new in moves[:done]:
        os.replace(old, new)
    finish(moves)
    finish(moves)
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["after", "after"]
