"""Derived features: hand-worked cases, literature values, and the gap rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from climsim.calendar import to_date
from climsim.data.raw.features import (
    STORED,
    memory_features,
    memory_needed,
    memory_of,
    present_features,
    step_terms,
)
from climsim.data.raw.steps import RawStep
from climsim.interfaces import V2, V6
from climsim.physics.previous_steps import large_scale_forcing, large_scale_state
from climsim.physics.thermodynamics import saturation_pressure_ice, saturation_pressure_liquid
from climsim.variables import EXPANDED, OUTPUTS, STANDARD, TARGETS
from tests.data.synthetic import STEP, make_step
from tests.grids import make_grid

GRID = make_grid()


def raw_step(seed):
    before, after = make_step(GRID, np.random.default_rng(seed))
    return RawStep(to_date(seed * 1200), before, after)


def test_store_holds_every_variable_of_every_set():
    for variables in (STANDARD, EXPANDED, TARGETS, V2.variables, V6.variables, OUTPUTS):
        assert set(variables.names) <= set(STORED)
    assert len(STORED) == len(set(STORED))


@pytest.mark.parametrize(
    ("temperature", "pascal"),
    # Murphy and Koop 2005 (Q. J. R. Meteorol. Soc. 131), equation 10, over liquid water.
    [(273.16, 611.66), (283.15, 1228.0), (293.15, 2339.2), (303.15, 4246.9)],
)
def test_saturation_over_liquid_agrees_with_the_literature(temperature, pascal):
    assert saturation_pressure_liquid(temperature) == pytest.approx(pascal, rel=3e-3)


@pytest.mark.parametrize(
    ("temperature", "pascal"),
    # Murphy and Koop 2005, equation 7, over ice.
    [(263.15, 259.87), (253.15, 103.24), (233.15, 12.84), (213.15, 1.080)],
)
def test_saturation_over_ice_agrees_with_the_literature(temperature, pascal):
    assert saturation_pressure_ice(temperature) == pytest.approx(pascal, rel=3e-3)


def test_relative_humidity_of_a_warm_layer_worked_by_hand():
    # 20 degC, 1000 hPa: e_sat = 2339 Pa, q_sat = 287 / 461 * 2339 / 1e5 = 0.01456; q = 0.00728.
    before, after = make_step(GRID, np.random.default_rng(0))
    before["state_t"][:] = 293.15
    before["state_pmid"][:] = 1.0e5
    before["state_q0001"][:] = 0.00728
    fields = present_features(step_terms(RawStep(to_date(0), before, after), STEP), GRID.lat)
    np.testing.assert_allclose(fields["state_rh"], 0.5, rtol=3e-3)
    np.testing.assert_array_equal(fields["liq_partition"], 1.0)


def test_condensate_partition_location_and_targets():
    step = raw_step(1)
    fields = present_features(step_terms(step, STEP), GRID.lat)
    np.testing.assert_array_equal(
        fields["state_qn"], step.before["state_q0002"] + step.before["state_q0003"]
    )
    np.testing.assert_allclose(fields["clat"] ** 2 + fields["slat"] ** 2, 1.0)
    assert fields["slat"][0] == pytest.approx(np.sin(np.deg2rad(-88)))
    np.testing.assert_array_equal(
        fields["ptend_u"], (step.after["state_u"] - step.before["state_u"]) / 1200
    )
    np.testing.assert_array_equal(fields["cam_out_PRECC"], step.after["cam_out_PRECC"])


def test_fill_values_of_snow_become_zero_and_no_others_change():
    step = raw_step(2)
    fields = present_features(step_terms(step, STEP), GRID.lat)
    filled = step.before["cam_in_SNOWHICE"] > 1e29
    assert filled.any()
    np.testing.assert_array_equal(fields["cam_in_SNOWHICE"][filled], 0.0)
    np.testing.assert_array_equal(
        fields["cam_in_SNOWHICE"][~filled], step.before["cam_in_SNOWHICE"][~filled]
    )


def test_forcing_is_the_change_between_physics_and_next_physics():
    one = {f"state_{k}": np.full((2, 3), v) for k, v in
           {"t": 280.0, "u": 3.0, "q0001": 5e-3, "q0002": 1e-4, "q0003": 0.0}.items()}  # fmt: skip
    two = {f"state_{k}": np.full((2, 3), v) for k, v in
           {"t": 281.2, "u": 0.6, "q0001": 5e-3, "q0002": 0.0, "q0003": 4e-5}.items()}  # fmt: skip
    forcing = large_scale_forcing(large_scale_state(two), large_scale_state(one), STEP)
    np.testing.assert_allclose(forcing["state_t_dyn"], 1e-3)
    np.testing.assert_allclose(forcing["state_u_dyn"], -2e-3)
    np.testing.assert_allclose(forcing["state_q0_dyn"], (4e-5 - 1e-4) / 1200)


def test_budget_closes_over_two_steps():
    """State change from t-2 to t is physics at t-2 and t-1 plus the forcing between them."""
    earlier, previous, now = (step_terms(raw_step(s), STEP) for s in (0, 1, 2))
    fields = memory_features(now, previous, earlier)
    for key in ("t", "u"):
        rates = [f"{p}state_{key}_{kind}" for p in ("", "tm_") for kind in ("dyn", "prvphy")]
        change = now.before[f"state_{key}"] - earlier.before[f"state_{key}"]
        np.testing.assert_allclose(1200 * sum(fields[r] for r in rates), change, atol=1e-9)


def test_memory_reaches_as_far_as_the_steps_given():
    now, previous = step_terms(raw_step(1), STEP), step_terms(raw_step(0), STEP)
    assert memory_features(now, None, None) == {}
    assert memory_features(now, None, previous) == {}
    names = set(memory_features(now, previous, None))
    assert names
    assert all(memory_needed(n) == 1 for n in names)


@given(st.sets(st.integers(0, 30), min_size=1))
def test_memory_counts_gapless_steps(present):
    steps = sorted(present)
    seconds = np.array([s * 1200 for s in steps], dtype=np.int64)
    expected = [0 if s - 1 not in present else 1 if s - 2 not in present else 2 for s in steps]
    assert memory_of(seconds, STEP).tolist() == expected


@given(st.lists(st.integers(1, 5000), min_size=2, max_size=20))
def test_memory_needs_exactly_twenty_minutes(distances):
    seconds = np.cumsum(distances).astype(np.int64)
    for index, count in enumerate(memory_of(seconds, STEP)):
        if count:
            assert seconds[index] - 1200 in seconds
