"""Text of files and libraries that is safe to print."""

import pytest

from octconvert.text.printable import line, printable


@pytest.mark.parametrize("text", ["\x1b[31mred", "right\u202eleft", "half \ud800", "a\u2028b"])
def test_what_a_terminal_obeys_is_replaced(text):
    shown = printable(text)
    assert shown.isprintable() and len(shown) == len(text) and shown.count("?") == 1


def test_printable_text_stays():
    assert printable("Grüße, 日本") == "Grüße, 日本"


def test_a_line_is_one_line_of_bounded_length():
    assert line("  one\n\ttwo  ") == "one two"
    text = line("a" * 1000 + "end")
    assert len(text) == 640 and text.startswith("aaa") and text.endswith("end") and " ... " in text
