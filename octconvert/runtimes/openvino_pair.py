"""Replacing an OpenVINO pair, .xml and .bin, by a new one.

Two files can not be renamed in one step. So meanwhile the .bin holds the weights of both pairs, and after every step
the pair is complete:

    .bin                  .xml
    old, padding, new     old                             the new weights are behind the old ones
    old, padding, new     new, its offsets moved on       from here on it is the new pair
    new, padding, new     new, its offsets moved on
    new, padding, new     new
    new                   new
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from xml.parsers import expat

from octconvert.system import targets
from octconvert.system.temporaries import finish, move, renaming

_ALIGNMENT = 64
_COMMITTED = 2
"""Steps after which the pair is the new one."""
_OFFSET = re.compile(rb'(\soffset=")(\d+)')


def put_in_place(new: Path, place: Path, weights: Path) -> None:
    """Put a pair in the place of another one, whose permissions it takes over.

    Whenever this process is killed, a complete pair is there, the old or the new one.

    Args:
        new: the new .xml, its .bin beside it.
        place: where the .xml goes, beside the directory that ``new`` is in.
        weights: where the .bin goes.

    Raises:
        OSError: what was there stays.
    """
    with contextlib.ExitStack() as stack:
        own, aside, both, twice = (stack.enter_context(targets.beside(weights)) for _ in range(4))
        moved = stack.enter_context(targets.beside(place))
        _copy(new.with_suffix(".bin"), own)
        steps = [(own, weights), (new, place)]
        is_complete = weights.exists() and place.exists()
        if is_complete:
            _copy(weights, aside)
            start = -(-max(weights.stat().st_size, own.stat().st_size) // _ALIGNMENT) * _ALIGNMENT
            for path, first in ((both, weights), (twice, own)):
                _join(first, own, start, path)
            moved.write_bytes(with_moved_weights(new.read_bytes(), start))
            steps = [(both, weights), (moved, place), (twice, weights), (new, place), (own, weights)]
        for path, target in steps:
            targets.flush(path)
            if target.exists():
                shutil.copymode(target, path)
        with renaming:
            if is_complete:
                _step(steps, aside)
            else:
                move(steps)


def _step(steps: list[tuple[Path, Path]], aside: Path) -> None:
    """Rename one after the other; where that fails before the pair is the new one, ``aside`` is the old .bin again."""
    done = 0
    try:
        for path, target in steps:
            os.replace(path, target)
            done += 1
    except OSError:
        if 0 < done < _COMMITTED:
            os.replace(aside, steps[0][1])
        raise
    except BaseException:
        finish(steps)
        raise


def _copy(path: Path, other: Path) -> None:
    """The same file under another name, or its bytes where the file system has no second names."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copy(path, other)


def _join(first: Path, second: Path, start: int, target: Path) -> None:
    """``first``, and ``second`` from the byte ``start`` on."""
    with open(target, "xb") as file:
        for path, place in ((first, 0), (second, start)):
            file.seek(place)
            with open(path, "rb") as part:
                shutil.copyfileobj(part, file)


def with_moved_weights(description: bytes, by: int) -> bytes:
    """The .xml with all offsets of constants, those of inner graphs too, moved on by so many bytes of the .bin."""
    parser, places, is_constant = expat.ParserCreate(), [], False

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal is_constant
        if name == "layer":
            is_constant = attributes.get("type") == "Const"
        elif name == "data" and is_constant:
            places.append(parser.CurrentByteIndex)
            is_constant = False

    parser.StartElementHandler = start
    parser.Parse(description, True)
    parts, last = [], 0
    for place in places:
        match = _OFFSET.search(description, place)
        if match is None:
            raise ValueError(f"a constant without an offset at byte {place}")
        parts += [description[last : match.end(1)], b"%d" % (int(match[2]) + by)]
        last = match.end()
    return b"".join([*parts, description[last:]])
