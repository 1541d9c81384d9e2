"""The air of a step: computed once, and never from arrays that a later step overwrote."""

from collections import Counter

import numpy as np
import pytest

from climsim.constants import E3SM
from climsim.physics import air, columns
from climsim.physics.air import Air
from tests.online.test_run import Confident, coupled
from tests.online.toy_host import ToyHost, toy_grid


@pytest.fixture
def calls(monkeypatch):
    """How often masses and heights were computed, by name."""
    counts = Counter()

    def counted(module, name):
        computed = getattr(module, name)

        def call(*arguments):
            counts[name] += 1
            return computed(*arguments)

        monkeypatch.setattr(module, name, call)

    counted(columns, "layer_mass")
    counted(air, "midpoint_heights")
    return counts


@pytest.mark.parametrize("threads", [1, 2])
def test_masses_and_heights_of_a_step_are_computed_once(tmp_path, monkeypatch, calls, threads):
    model = Confident(ToyHost())
    record = coupled(monkeypatch, model, tmp_path / "run", days=1.0, threads=threads)
    assert record.sums.coupled_steps > 0
    assert calls == {"layer_mass": record.steps, "midpoint_heights": record.steps}


def test_air_kept_for_later_has_what_was_computed_and_reads_copies_for_the_rest(calls):
    inputs = ToyHost().inputs()
    expected = Air.of(ToyHost().inputs(), toy_grid(), E3SM)
    found = Air.of(inputs, toy_grid(), E3SM)
    mass = found.columns.mass
    kept = found.with_copies({name: values.copy() for name, values in inputs.items()})
    for values in inputs.values():
        values[...] = np.nan
    calls.clear()
    assert kept.columns.mass is mass
    np.testing.assert_array_equal(kept.heights, expected.heights)
    np.testing.assert_array_equal(kept.interfaces, expected.interfaces)
    assert kept.with_copies(inputs).heights is kept.heights
    assert calls == {"midpoint_heights": 2}
