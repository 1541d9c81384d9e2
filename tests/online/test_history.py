"""History files: means by period, E3SM's form, derived fields by hand."""

from datetime import timedelta

import numpy as np
import pytest
import xarray as xr
from cftime import DatetimeNoLeap

from climsim.constants import DRY_AIR_GAS_CONSTANT, E3SM, GRAVITY
from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid
from climsim.hosts.base import StepResult
from climsim.online.fields import PressureInterpolation, history_fields
from climsim.online.history import Destination, HistoryWriter, Stream
from climsim.physics.air import Air
from climsim.runs.fields import HISTORY_FIELDS
from climsim.variables import OUTPUTS, PROGNOSTIC, SCALARS_IN
from tests.online.toy_host import COLUMNS, DT, LEVELS, ToyHost, toy_grid

PUBLISHED = (
    "PRECT", "PRECC", "LHFLX", "SHFLX", "TMQ", "U850", "T850", "Z850", "U500", "T500", "Z500", "T",
    "Q", "U", "V", "PS", "CLDICE", "CLDLIQ", "DTPHYS", "DQ1PHYS", "DQ2PHYS", "DQ3PHYS", "DUPHYS",
    "FLUT",
)  # fmt: skip


def writer(folder, **changes):
    options = {"streams": ("h0", "h1", "h2"), "hourly_fields": ()} | changes
    return HistoryWriter([Destination(folder, "case", {"source": "toy"})], toy_grid(), **options)


def fill(history, start, steps, value=lambda step: float(step)):
    """Feed steps whose fields are known."""
    for step in range(steps):
        fields = {
            "T": np.full((LEVELS, COLUMNS), value(step)),
            "PRECT": np.full(COLUMNS, value(step)),
        }
        history.add(fields, start + timedelta(seconds=DT * step), DT)


def test_hourly_daily_and_monthly_means_are_those_of_their_steps(tmp_path):
    history = writer(tmp_path)
    fill(history, DatetimeNoLeap(1, 1, 31), 72 + 30)
    history.write_unfinished()
    hourly = xr.open_dataset(tmp_path / "case.eam.h2.0001-01-31-00000.nc", decode_times=False)
    np.testing.assert_allclose(hourly.PRECT[:, 3], 1.0 + 3 * np.arange(24))
    assert "T" not in hourly
    daily = xr.open_dataset(tmp_path / "case.eam.h1.0001-01-31-00000.nc")
    np.testing.assert_allclose(daily["T"], 35.5)
    january = xr.open_dataset(tmp_path / "case.eam.h0.0001-01.nc")
    february = xr.open_dataset(tmp_path / "case.eam.h0.0001-02.nc")
    assert float(january["T"][0, 2, 4]) == 35.5
    assert float(february["T"][0, 2, 4]) == pytest.approx(72 + 14.5)
    assert (int(january.nsteps[0]), int(february.nsteps[0])) == (72, 30)


def test_time_is_the_end_of_the_mean_with_its_bounds(tmp_path):
    history = writer(tmp_path, streams=("h1",))
    fill(history, DatetimeNoLeap(2, 2, 28), 72)
    path = tmp_path / "case.eam.h1.0002-02-28-00000.nc"
    with xr.open_dataset(path, decode_times=False) as data:
        assert data.time.attrs["calendar"] == "noleap"
        np.testing.assert_array_equal(data.time_bnds, [[365 + 58, 365 + 59]])
        np.testing.assert_array_equal(data.time, [365 + 59])
    with xr.open_dataset(path) as data:
        assert data.time.values[0] == DatetimeNoLeap(2, 3, 1)


def test_file_has_the_form_of_e3sm(tmp_path):
    history = writer(tmp_path)
    fill(history, DatetimeNoLeap(1, 1, 1), 72)
    data = xr.open_dataset(tmp_path / "case.eam.h1.0001-01-01-00000.nc", decode_times=False)
    assert data["T"].dims == ("time", "lev", "ncol")
    assert data["T"].dtype == np.float32
    assert data["T"].attrs["units"] == "K"
    assert data["T"].attrs["cell_methods"] == "time: mean"
    assert data["PRECT"].dims == ("time", "ncol")
    assert data.time.attrs["bounds"] == "time_bnds"
    grid = toy_grid()
    np.testing.assert_array_equal(data.hyai, grid.hyai)
    np.testing.assert_array_equal(data.area, grid.area)
    np.testing.assert_allclose(data.lev, 1000 * (grid.hyam + grid.hybm))
    assert float(data.P0) == 1e5
    assert data.attrs["case"] == "case"


def test_half_day_is_written_at_the_end_and_replaced_when_the_run_continues(tmp_path):
    history = writer(tmp_path, streams=("h1",))
    fill(history, DatetimeNoLeap(1, 1, 1), 36)
    history.write_unfinished()
    path = tmp_path / "case.eam.h1.0001-01-01-00000.nc"
    with xr.open_dataset(path) as data:
        assert float(data["T"].mean()) == 17.5
    fill(history, DatetimeNoLeap(1, 1, 1, 12), 36, lambda step: 36.0 + step)
    with xr.open_dataset(path) as data:
        assert float(data["T"].mean()) == 35.5


def test_field_that_ends_with_the_spinup_does_not_stand_for_the_period(tmp_path):
    history = writer(tmp_path, streams=("h1",))
    start = DatetimeNoLeap(1, 1, 1)
    for step in range(72):
        name = "FLUT" if step < 5 else "TMQ"
        fields = {"PS": np.full(COLUMNS, 1.0), name: np.full(COLUMNS, 8.0)}
        history.add(fields, start + timedelta(seconds=DT * step), DT)
    with xr.open_dataset(tmp_path / "case.eam.h1.0001-01-01-00000.nc") as data:
        assert "FLUT" not in data
        np.testing.assert_array_equal(data.TMQ, 8.0)


def test_streams_continue_from_arrays_in_the_midst_of_an_hour(tmp_path):
    start = DatetimeNoLeap(1, 1, 1)
    whole = writer(tmp_path / "whole")
    fill(whole, start, 100)
    whole.write_unfinished()
    first, second = writer(tmp_path / "parts"), writer(tmp_path / "parts")
    fill(first, start, 52)
    second.load_arrays([first.to_arrays()])
    fill(second, start + timedelta(seconds=52 * DT), 48, lambda step: 52.0 + step)
    second.write_unfinished()
    for path in (tmp_path / "whole").glob("*.nc"):
        with xr.open_dataset(path) as a, xr.open_dataset(tmp_path / "parts" / path.name) as b:
            xr.testing.assert_identical(a, b)


def test_interpolation_is_linear_in_log_pressure():
    midpoints = np.array([1e4, 4e4, 7e4, 9e4])[:, None] * np.array([1.0, 1.1])
    profile = 3.0 + 2.0 * np.log(midpoints)
    values = PressureInterpolation.to(5e4, midpoints)(profile)
    np.testing.assert_allclose(values, 3.0 + 2.0 * np.log(5e4), rtol=1e-12)


def test_interpolation_meets_the_levels_and_holds_the_ends():
    midpoints = np.array([1e4, 4e4, 7e4])[:, None] * np.ones(2)
    profile = np.array([[1.0, 5.0], [2.0, 6.0], [4.0, 8.0]])
    np.testing.assert_allclose(PressureInterpolation.to(4e4, midpoints)(profile), [2.0, 6.0])
    np.testing.assert_allclose(PressureInterpolation.to(8.5e4, midpoints)(profile), [4.0, 8.0])
    np.testing.assert_allclose(PressureInterpolation.to(5e3, midpoints)(profile), [1.0, 5.0])


def derived():
    host = ToyHost()
    result = host.step_physics()
    return history_fields(result, Air.of(result.inputs, host.grid, E3SM)), result, host.grid


def test_published_fields_are_there_with_shape_and_description():
    fields, _, _ = derived()
    assert set(PUBLISHED) <= set(fields)
    for name, value in fields.items():
        expected = (LEVELS, COLUMNS) if HISTORY_FIELDS[name].profile else (COLUMNS,)
        assert value.shape == expected, name


def test_water_path_is_the_mass_weighted_sum():
    fields, result, grid = derived()
    column = 2
    surface = result.inputs["state_ps"][column]
    interfaces = grid.hyai * grid.p0 + grid.hybi * surface
    humidity = result.inputs["state_q0001"][:, column]
    expected = (
        sum(humidity[k] * (interfaces[k + 1] - interfaces[k]) for k in range(LEVELS)) / GRAVITY
    )
    assert fields["TMQ"][column] == pytest.approx(expected, rel=1e-12)


def test_height_of_an_isothermal_dry_column_follows_the_barometric_formula():
    levels, columns = 60, 2
    sigma = np.linspace(0.0, 1.0, levels + 1) ** 1.5
    zero = np.zeros(levels + 1)
    grid = ColumnGrid(
        lat=np.zeros(columns), lon=np.arange(columns), area=np.ones(columns), hyam=zero[1:],
        hybm=(sigma[1:] + sigma[:-1]) / 2, hyai=zero, hybi=sigma,
    )  # fmt: skip
    surface = np.array([1.0e5, 7.0e4])  # 850 hPa lies below the ground of the second column
    geopotential = np.array([0.0, 3000.0 * GRAVITY])
    profile = np.full((levels, columns), 280.0)
    inputs = {n: np.zeros(columns) for n in SCALARS_IN}
    inputs |= {n: np.zeros((levels, columns)) for n in PROGNOSTIC}
    inputs |= {"state_t": profile, "state_ps": surface}
    inputs["state_pmid"] = grid.midpoint_pressure(surface)
    result = StepResult(
        DatetimeNoLeap(1, 1, 1),
        inputs,
        dict.fromkeys(OUTPUTS.profiles, profile),
        dict.fromkeys(OUTPUTS.scalars, surface),
        {"PHIS": geopotential},
    )
    fields = history_fields(result, Air.of(inputs, grid, E3SM))
    scale = DRY_AIR_GAS_CONSTANT * 280.0 / GRAVITY
    for level in (850, 500):
        expected = geopotential / GRAVITY + scale * np.log(surface / (100.0 * level))
        np.testing.assert_allclose(fields[f"Z{level}"], expected, atol=5.0)


def test_height_needs_the_orography():
    host = ToyHost()
    result = host.step_physics()
    bare = StepResult(result.date, result.inputs, result.tendencies, result.surface)
    fields = history_fields(bare, Air.of(bare.inputs, host.grid, E3SM))
    assert "Z850" not in fields
    assert "U850" in fields


def test_unknown_stream_and_field_are_refused(tmp_path):
    with pytest.raises(ClimSimError, match="unknown history stream 'h9'"):
        Stream("h9")
    with pytest.raises(ClimSimError, match=r"hourly_fields: expected one of .*, found 'RAIN'"):
        writer(tmp_path, streams=("h2",), hourly_fields=("RAIN",))


def test_field_of_a_wrong_shape_is_refused(tmp_path):
    history = writer(tmp_path, streams=("h1",))
    with pytest.raises(
        ClimSimError, match=r"history field T: expected shape \(5, 7\), found \(7,\)"
    ):
        for step in range(72):
            date = DatetimeNoLeap(1, 1, 1) + timedelta(seconds=DT * step)
            history.add({"T": np.zeros(COLUMNS)}, date, DT)
