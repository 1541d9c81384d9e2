"""Numbers, units and places as a reader sees them, beside hand-written ones."""

import numpy as np
import pytest

from climsim.notation import days, position, unit_in_words, written


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (12.345, "12.3"),
        (1234.5, "1234"),
        (0.0, "0"),
        (-0.5, "−0.500"),
        (-0.00022, "−2.20 × 10⁻⁴"),
        (1e-7, "1.00 × 10⁻⁷"),
        (49074.0, "49,074"),
        (6.26e6, "6,260,000"),
        (3e12, "3.00 × 10¹²"),
        (np.nan, "–"),
        (np.inf, "–"),
    ],
)
def test_numbers_keep_three_digits_and_show_the_unknown_as_a_dash(value, text):
    assert written(value) == text


def test_number_stands_before_its_unit_with_raised_powers():
    assert written(360.6329345703125, 4, "K") == "360.6 K"
    assert written(3.2, 2, "kg m-2 s-1") == "3.2 kg m⁻² s⁻¹"
    assert written(np.nan, unit="K") == "–"
    assert written(0.5, 2, "1") == "0.50"
    assert unit_in_words("g kg⁻¹") == "g kg⁻¹"


def test_places_have_no_negative_degrees_and_count_from_greenwich():
    assert position(-38.2, 292.3) == "38° S, 68° W"
    assert position(49.0, 146.0) == "49° N, 146° E"
    assert position(0.0, 360.0) == "0° N, 0° E"


def test_one_day_is_singular():
    assert [days(x) for x in (0.5, 1.0, 10.0, 7.36)] == [
        "0.5 days",
        "1 day",
        "10 days",
        "7.36 days",
    ]
