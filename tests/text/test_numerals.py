"""Numbers as users type them."""

import pytest

from octconvert.text.numerals import parse_number, scale_and_offset


@pytest.mark.parametrize(
    "text, expected",
    [("0.5", 0.5), ("-1", -1.0), ("1/255", 1 / 255), ("1/0", None), ("inf", None), ("", None), ("half", None)],
)
def test_numbers(text, expected):
    assert parse_number(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [("1/127.5,-1", (1 / 127.5, -1.0)), ("2", (2.0, 0.0)), ("0", None), ("0,1", None), ("1,2,3", None), ("a,1", None)],
)
def test_scale_and_offset(text, expected):
    assert scale_and_offset(text) == expected
