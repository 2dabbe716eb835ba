"""Numbers, names and lists in words."""

import pytest

from octconvert.text import words


@pytest.mark.parametrize(
    "share, fine",
    [
        (0, "0%"),
        (1.38e-9, "1.38e-7%"),
        (0.000412345, "0.0412%"),
        (0.0312, "3.12%"),
        (0.99949, "99.9%"),
        (1.2345, "123%"),
        (120, "12000%"),
        (2e9, "2e11%"),
        (float("inf"), "inf"),
    ],
)
def test_errors_in_percent(share, fine):
    assert words.fine_percent(share) == fine


def test_errors_that_differ_are_shown_apart():
    assert words.fine_percents(0.0138, 0.0134) == ("1.38%", "1.34%")
    assert words.fine_percents(0.013841, 0.013842) == ("1.3841%", "1.3842%")
    assert words.fine_percents(0.5, 0.5) == ("50%", "50%")


@pytest.mark.parametrize(
    "value, digits, expected",
    [
        (0, 3, "0"),
        (999, 3, "999"),
        (1000, 3, "1.00 K"),
        (15_470_314_496, 4, "15.47 G"),
        (25_600_000, 3, "25.6 M"),
        (999_999, 3, "1.00 M"),
        (999_499, 3, "999 K"),
        (9_999_999, 4, "10.00 M"),
        (9_600_000, 3, "9.60 M"),
    ],
)
def test_human_numbers(value, digits, expected):
    assert words.human(value, digits) == expected


@pytest.mark.parametrize(
    "name, width, expected",
    [
        ("conv1", 5, "conv1"),
        ("backbone/conv4_block6_2_conv", 24, "ba../conv4_block6_2_conv"),
        ("backbone/encoder/conv", 15, "backbone../conv"),
        ("conv4_block6_2_conv", 12, "con.._2_conv"),
    ],
)
def test_shortened_names(name, width, expected):
    assert words.shorten(name, width) == expected


def test_shortening_keeps_to_the_width():
    for name in ("a/b", "backbone/conv4_block6_2_conv", "x" * 90, "a/" + "y" * 50):
        assert all(len(words.shorten(name, width)) <= width for width in range(1, 60))


def test_names_that_would_look_alike_are_cut_elsewhere():
    names = [f"separable_conv_{i}_reduction_right1_stem_1" for i in (1, 2)]
    assert len({words.shorten(name, 24) for name in names}) == 1
    result = words.shorten_all([*names, "conv"], 24)
    assert len(set(result.values())) == 3 and all(len(text) <= 24 for text in result.values())
    assert all(str(i) in result[name] for i, name in enumerate(names, 1))


@pytest.mark.parametrize(
    "before, after, expected", [(20, 10, "2.00x"), (10, 20, "0.50x"), (0, 5, "-"), (5, 0, "-"), (7, 7, "1.00x")]
)
def test_ratio(before, after, expected):
    assert words.ratio(before, after) == expected


@pytest.mark.parametrize(
    "share, expected", [(0, "0.0%"), (1, "100.0%"), (0.99999, "over 99.9%"), (1e-6, "under 0.1%"), (0.5, "50.0%")]
)
def test_percent_never_rounds_to_all_or_nothing(share, expected):
    assert words.percent(share) == expected


@pytest.mark.parametrize("room", [20, 40, 60, 100])
def test_listing_counts_the_names_it_leaves_out(room):
    names = [f"conv_{i}" for i in range(12)]
    result = words.listing(names, room)
    head, _, more = result.partition(" and ")
    assert len(result) <= room or head == "conv_0"
    assert len(head.split(", ")) + int(more.split()[0] if more else 0) == 12
    assert words.listing(names, room, verbose=True) == ", ".join(names)
