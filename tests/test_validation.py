"""Values are refused in one phrasing, with the key that the user writes."""

from dataclasses import dataclass

import pytest

from climsim import validation
from climsim.errors import ClimSimError
from climsim.validation import Checks


@dataclass(frozen=True)
class Settings:
    steps: object = 1
    share: float | None = 0.5
    form: str = "text"
    streams: tuple[str, ...] = ("h0",)

    def __post_init__(self):
        check = Checks(self, "run")
        check.whole("steps", least=1)
        check.between(0, 1, "share")
        check.one_of(("text", "json"), "form")
        check.each_of(("h0", "h1"), "streams")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "run.steps: expected a whole number >= 1, found 0"),
        ({"steps": 1.0}, "run.steps: expected a whole number >= 1, found 1.0"),
        ({"steps": True}, "run.steps: expected a whole number >= 1, found True"),
        ({"share": 1.5}, "run.share: expected a number from 0 to 1, found 1.5"),
        ({"share": float("nan")}, "run.share: expected a number from 0 to 1, found nan"),
        ({"form": "xml"}, "run.form: expected one of text, json, found 'xml'"),
        (
            {"form": "JSN"},
            "run.form: expected one of text, json, found 'JSN': did you mean json?",
        ),
        ({"streams": ("h0", "h7")}, "run.streams: expected one of h0, h1, found 'h7'"),
    ],
)
def test_field_out_of_range_names_its_key_what_was_expected_and_what_was_found(changes, message):
    with pytest.raises(ClimSimError) as caught:
        Settings(**changes)
    assert str(caught.value) == message


def test_field_that_may_be_null_is_not_checked_then():
    assert Settings(share=None).share is None


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: validation.at_least("s", float("nan")),
            "s: expected a finite number >= 0, found nan",
        ),
        (
            lambda: validation.at_least("a", -1.5, 0, "K"),
            "a: expected a finite number >= 0 K, found -1.5",
        ),
        (
            lambda: validation.at_least("s", float("inf")),
            "s: expected a finite number >= 0, found inf",
        ),
        (
            lambda: validation.positive("days", float("inf")),
            "days: expected a positive, finite number, found inf",
        ),
        (
            lambda: validation.positive("days", 0),
            "days: expected a positive, finite number, found 0",
        ),
        (
            lambda: validation.different("s", (7, 7)),
            "s: expected different entries, found [7, 7]: give each once",
        ),
        (
            lambda: validation.whole("n", -1, remedy="omit it"),
            "n: expected a whole number >= 0, found -1: omit it",
        ),
    ],
)
def test_check_refuses_in_the_one_phrasing(check, message):
    with pytest.raises(ClimSimError) as caught:
        check()
    assert str(caught.value) == message
