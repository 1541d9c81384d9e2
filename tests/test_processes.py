"""Names of the processes in an emulated term: read from anything, and agreed upon."""

import numpy as np
import pytest

from climsim.errors import ClimSimError
from climsim.processes import PROCESSES, agreed, as_attribute, in_words, read_processes
from tests import ROOT

THREE = frozenset({"radiation", "convection", "clouds"})
FOUR = THREE | {"turbulence"}


@pytest.mark.parametrize(
    "value", [THREE, sorted(THREE), "clouds, convection, radiation", "radiation,clouds,convection "]
)
def test_names_are_read_from_sets_lists_and_text(value):
    assert read_processes(value, "a.nc") == THREE


@pytest.mark.parametrize("value", [None, "", [], frozenset()])
def test_nothing_said_is_nothing_known(value):
    assert read_processes(value, "a.nc") == frozenset()
    assert as_attribute(frozenset()) == {}


@pytest.mark.parametrize(
    "value", [{"radiation", "chemistry"}, "radiation; clouds", 5, [3], True, np.array([1.0, 2.0])]
)
def test_what_names_no_known_process_is_refused_with_those_that_are(value):
    message = r"^host x: emulated_processes: expected names among clouds, .*turbulence, found"
    with pytest.raises(ClimSimError, match=message) as error:
        read_processes(value, "host x")
    assert "\n" not in str(error.value)


def test_every_process_survives_the_way_through_an_attribute():
    every = frozenset(PROCESSES)
    (stored,) = as_attribute(every).values()
    assert read_processes(stored, "a") == read_processes(in_words(every), "a") == every


def test_page_of_hosts_lists_every_process():
    page = (ROOT / "docs" / "coupling.md").read_text()
    rows = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in PROCESSES.items())
    assert f"| process | what it covers |\n|---|---|\n{rows}\n\n" in page


def test_those_that_say_nothing_fit_all_others():
    assert agreed({}, "x") == agreed({"a": frozenset()}, "x") == frozenset()
    assert agreed({"a": frozenset(), "b": THREE, "c": frozenset(), "d": THREE}, "x") == THREE


def test_two_that_differ_are_named_with_what_each_says():
    with pytest.raises(ClimSimError) as error:
        agreed({"a": frozenset(), "b": THREE, "c": FOUR}, "keep them apart")
    assert str(error.value) == (
        "c: expected an emulated term of clouds, convection, radiation, as b says, found one of "
        "clouds, convection, radiation, turbulence: keep them apart"
    )
