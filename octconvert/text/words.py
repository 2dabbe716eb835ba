"""Numbers, shapes and names -> text as people read it, in plain ASCII."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

_PREFIXES = ("", " K", " M", " G", " T", " P")


def human(value: float, digits: int = 3) -> str:
    """15_470_000_000 -> '15.5 G'; whole numbers below a thousand stay as they are."""
    number, prefix = float(value), 0
    # Rounding first keeps 999,999 from reading "1000 K".
    while abs(number := float(f"{number:.{digits}g}")) >= 1000 and prefix < len(_PREFIXES) - 1:
        prefix += 1
        number = value / 1000**prefix
    if prefix == 0:
        return f"{value:.{digits}g}" if value % 1 else f"{value:.0f}"
    whole = len(str(int(abs(number))))
    return f"{number:.{max(0, digits - whole)}f}{_PREFIXES[prefix]}"


def size(count: int) -> str:
    """Bytes: 12_300_000 -> '12.3 MB'."""
    text = human(count)
    return f"{text}B" if " " in text else f"{text} B"


def ratio(before: float, after: float) -> str:
    """How many times less: '2.23x'; '-' where there is nothing to divide."""
    if not before or not after:
        return "-"
    times = before / after
    return f"{times:.2f}x" if times < 100 else f"{times:.0f}x"


def percent(share: float) -> str:
    """'96.1%'; never 100% or 0% for what is only nearly so."""
    if 0 < share < 0.001:
        return "under 0.1%"
    if 0.999 < share < 1:
        return "over 99.9%"
    return f"{100 * share:.1f}%"


def fine_percent(share: float, digits: int = 3) -> str:
    """So many significant digits wherever they lie: '0.0412%', '3.12%', '120%', '4.12e-5%'; 'inf' and 'nan' as such."""
    if not math.isfinite(share):
        return f"{share:g}"
    value = float(f"{100 * share:.{digits - 1}e}")
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.12g}%"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}%"


def fine_percents(*shares: float) -> tuple[str, ...]:
    """The shares as `fine_percent`, with as many of up to six digits as tell those apart that differ."""
    for digits in range(3, 7):
        texts = tuple(fine_percent(share, digits) for share in shares)
        if len(set(texts)) == len(set(shares)):
            break
    return texts


def alpha(value: float) -> str:
    """'.5', '.125', '0'."""
    return f"{value:.3g}".removeprefix("0") or "0"


def shape(dimensions: Iterable[int | None] | None) -> str:
    """(56, None, 64) -> '56x?x64'; '-' for None."""
    if dimensions is None:
        return "-"
    return "x".join("?" if item is None else str(item) for item in dimensions)


def extent(sizes: Iterable[int | None]) -> str:
    """``224x224x3``, with ``?`` for an unknown size; a size of more than twelve digits is a power of ten."""
    return "x".join("?" if size is None else _size(size) for size in sizes) or "1"


def _size(count: int) -> str:
    return str(count) if abs(count) < 10**12 else f"10^{int(count.bit_length() * 0.30103)}"


def plural(count: int, noun: str) -> str:
    """'1 layer', '1,200 layers'."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def shorten(name: str, width: int) -> str:
    """Cut the middle of a name; a nested model's name is cut before the layer's own, by which layers differ."""
    if len(name) <= width:
        return name
    last = name.rpartition("/")[2]
    if last != name and len(last) + 3 <= width:
        return f"{name[: width - len(last) - 3]}../{last}"
    return _cut(name, width, (width - 2) // 3) if width >= 5 else name[:width]


def _cut(name: str, width: int, head: int) -> str:
    return f"{name[:head]}..{name[len(name) - (width - 2 - head) :]}" if len(name) > width else name


def shorten_all(names: Iterable[str], width: int) -> dict[str, str]:
    """Each name shortened; names that would look the same are cut at another place, where that makes them differ."""
    short = {name: shorten(name, width) for name in names}
    alike: dict[str, list[str]] = {}
    for name, text in short.items():
        alike.setdefault(text, []).append(name)
    for group in alike.values():
        if len(group) > 1:
            short |= _distinct(group, width)
    return short


def _distinct(names: Sequence[str], width: int) -> dict[str, str]:
    usual = (width - 2) // 3
    for head in sorted(range(1, width - 2), key=lambda head: abs(head - usual)):
        cut = {name: _cut(name, width, head) for name in names}
        if len(set(cut.values())) == len(cut):
            return cut
    return {}


def listing(names: Sequence[str], room: int, verbose: bool = False, longest: int = 40) -> str:
    """Names with commas; where they take more than ``room`` columns: the first few, and how many more there are."""
    if verbose:
        return ", ".join(names)
    by_name = shorten_all(names, longest)
    short = [by_name[name] for name in names]
    if len(", ".join(short)) <= room:
        return ", ".join(short)
    room -= len(f", and {len(short):,} more")
    shown = 1
    while shown < len(short) - 1 and len(", ".join(short[: shown + 1])) <= room:
        shown += 1
    if shown == len(short):
        return ", ".join(short)
    return f"{', '.join(short[:shown])} and {len(short) - shown:,} more"
