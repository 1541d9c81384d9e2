"""Budgets, drift, timing and the record's file."""

import numpy as np
import pytest

from climsim.arrays import Constant
from climsim.constants import (
    DRY_AIR_HEAT_CAPACITY,
    E3SM,
    FUSION_HEAT,
    GRAVITY,
    VAPORIZATION_HEAT,
    PhysicalConstants,
)
from climsim.errors import ClimSimError
from climsim.files import read_json
from climsim.hosts.base import StepResult, declaration_of
from climsim.hosts.members import means_of_members
from climsim.online.budget import global_means, step_budgets
from climsim.physics.air import Air
from climsim.physics.columns import layer_mass
from climsim.runs.budgets import BudgetSums, daily_trend
from climsim.runs.health import Instability
from climsim.runs.record import RunAbout, RunRecord
from climsim.runs.sums import StepSums
from climsim.runs.timing import Timing
from tests.online.toy_host import COLUMNS, LEVELS, ToyHost, toy_grid


def step(tendencies, surface, diagnostics=None):
    """A step of the toy with the tendencies and scalars given, all others zero."""
    host = ToyHost()
    plain = host.physics()
    zero = {n: np.zeros((LEVELS, COLUMNS)) for n in plain.tendencies}
    none = {n: np.zeros(COLUMNS) for n in plain.surface}
    inputs = dict(plain.inputs) | {"cam_in_LWUP": np.zeros(COLUMNS)}
    return StepResult(plain.date, inputs, zero | tendencies, none | surface, diagnostics or {})


def budgets_of(result, constants=E3SM):
    return step_budgets(result, Air.of(result.inputs, toy_grid(), constants).columns)


def moments(residual, weights):
    """Mean and mean square of a residual of the water budget."""
    fields = {"mean": residual, "square": residual**2}
    mean, square = means_of_members(fields, 1, Constant(weights)).values[:, 0]
    return {"water": mean}, {"water": square}


def mass():
    grid = toy_grid()
    return layer_mass(grid.interface_pressure(ToyHost().inputs()["state_ps"]), E3SM)


def test_rain_that_leaves_as_vapour_does_closes_the_water_budget():
    drying = np.zeros((LEVELS, COLUMNS))
    drying[3] = -1e-8
    rain = 1e-8 * mass()[3] / 1000.0
    budgets = budgets_of(step({"ptend_q0001": drying}, {"cam_out_PRECC": rain}))
    np.testing.assert_allclose(budgets["water"], 0.0, atol=1e-12)


def test_budgets_of_a_run_use_the_constants_of_its_host():
    drying = np.full((LEVELS, COLUMNS), -1e-8)
    result = step({"ptend_q0001": drying}, {})
    heavy = PhysicalConstants(gravity=2 * GRAVITY)
    usual, halved = (budgets_of(result, c)["water"] for c in (E3SM, heavy))
    np.testing.assert_allclose(halved, usual / 2)


def test_a_host_without_constants_has_those_of_e3sm_and_others_are_checked():
    host = ToyHost()
    assert declaration_of(host).constants == E3SM
    host.constants = PhysicalConstants(gravity=9.81)
    assert declaration_of(host).constants.gravity == 9.81
    host.constants = {"gravity": 9.81}
    with pytest.raises(ClimSimError, match=r"expected its constants to be .*found dict"):
        declaration_of(host)


def test_rain_out_of_nothing_shows_in_mm_per_day():
    rain = np.full(COLUMNS, 1e-3 / 86400.0)
    budgets = budgets_of(step({}, {"cam_out_PRECC": rain}))
    np.testing.assert_allclose(budgets["water"], 1.0)


def test_condensation_into_rain_or_snow_conserves_energy():
    condensed = np.full((LEVELS, COLUMNS), 2e-8)
    rain = (condensed * mass()).sum(axis=0) / 1000.0
    for snow, heat in ((0.0, VAPORIZATION_HEAT), (1.0, VAPORIZATION_HEAT + FUSION_HEAT)):
        result = step(
            {"ptend_q0001": -condensed, "ptend_t": heat * condensed / DRY_AIR_HEAT_CAPACITY},
            {"cam_out_PRECC": rain, "cam_out_PRECSC": snow * rain},
            {"FSNT": np.zeros(COLUMNS), "FLUT": np.zeros(COLUMNS)},
        )
        np.testing.assert_allclose(budgets_of(result)["energy"], 0.0, atol=1e-7)


def test_heating_by_absorbed_radiation_closes_and_other_heating_does_not():
    heating = np.full((LEVELS, COLUMNS), 1e-5)
    absorbed = (DRY_AIR_HEAT_CAPACITY * heating * mass()).sum(axis=0)
    surface = {"cam_out_NETSW": np.full(COLUMNS, 30.0), "cam_out_FLWDS": np.full(COLUMNS, 300.0)}
    top = {"FSNT": absorbed + 530.0, "FLUT": np.full(COLUMNS, 200.0)}
    closed = budgets_of(step({"ptend_t": heating}, surface, top))
    np.testing.assert_allclose(closed["energy"], 0.0, atol=1e-9)
    np.testing.assert_allclose(closed["implied_top_radiation"], top["FSNT"] - 200.0, rtol=1e-12)
    off = budgets_of(step({"ptend_t": 2 * heating}, surface, top))
    np.testing.assert_allclose(off["energy"], absorbed, rtol=1e-9)


def test_energy_residual_is_absent_without_fluxes_at_the_top():
    assert "energy" not in budgets_of(step({}, {}))


def test_large_columns_count_more():
    sums, weights = BudgetSums(), toy_grid().area_weights()
    value = np.zeros(COLUMNS)
    value[-1] = 7.0
    sums.add(*moments(value, weights))
    area = toy_grid().area
    assert sums.summary()["water"]["mean"] == pytest.approx(7.0 * area[-1] / area.sum())


def test_root_mean_square_and_mean_run_over_steps():
    sums, weights = BudgetSums(), np.ones(COLUMNS)
    for value in (1.0, -3.0):
        sums.add(*moments(np.full(COLUMNS, value), weights))
    summary = sums.summary()["water"]
    assert (summary["mean"], summary["steps"]) == (-1.0, 2)
    assert summary["rms"] == pytest.approx(np.sqrt(5.0))


def test_global_mean_temperature_is_weighted_by_mass_and_area():
    inputs = dict(ToyHost().inputs())
    weights = mass() * toy_grid().area
    expected = (inputs["state_t"] * weights).sum() / weights.sum()
    rain = {"cam_out_PRECC": np.full(COLUMNS, 2e-3 / 86400)}
    columns = Air.of(inputs, toy_grid(), E3SM).columns
    means = global_means(inputs, rain, columns, toy_grid().area_weights())
    assert means["temperature"] == pytest.approx(expected, rel=1e-12)
    assert means["precipitation"] == pytest.approx(2.0)
    surface = (inputs["state_ps"] * toy_grid().area).sum() / toy_grid().area.sum()
    assert means["surface_pressure"] == pytest.approx(surface)
    assert means["water"] < surface / GRAVITY


def test_trend_of_a_straight_line_is_its_slope():
    days = [{"day": float(d), "temperature": 250.0 - 0.3 * d} for d in range(1, 50)]
    assert daily_trend(days, "temperature") == pytest.approx(-0.3)
    assert daily_trend(days[:1], "temperature") == 0.0


def test_trend_looks_at_the_last_days_only():
    days = [{"day": float(d), "temperature": 0.0 if d < 40 else d - 40.0} for d in range(1, 70)]
    assert daily_trend(days, "temperature", window=20) == pytest.approx(1.0)


def test_years_per_day_leave_the_compiling_step_out():
    timing = Timing(steps=73, first_steps=1000.0)
    timing.seconds |= {"host": 70.0, "network": 3.0}
    assert timing.years_per_day(1200.0) == pytest.approx((73 * 1200 / 86400 / 365) / (73 / 86400))


def test_record_comes_back_from_its_file(tmp_path):
    record = RunRecord(
        "case",
        steps=3,
        about=RunAbout(dt=1200.0),
        sums=StepSums(corrections={"floor:cam_out_PRECC": 4}),
    )
    record.sums.budgets.add(*moments(np.arange(3.0), np.ones(3)))
    record.health.daily.append({"day": 1.0, "temperature": 250.25, "water": 1.0, "energy": 2.0,
                         "surface_pressure": 3.0})  # fmt: skip
    record.end_unstable(Instability("T", 3, None, float("inf"), (130.0, 360.0), step=3))
    record.save(tmp_path)
    back = RunRecord.open(tmp_path)
    assert back == record
    assert read_json(tmp_path / "record.json")["instability"]["value"] == "inf"
    assert back.message == "unstable after 0.04 days"


def test_file_that_is_no_record_is_named(tmp_path):
    (tmp_path / "record.json").write_text('{"case": "x"}')
    with pytest.raises(ClimSimError, match=r"record\.json: expected the record of a run"):
        RunRecord.open(tmp_path)
