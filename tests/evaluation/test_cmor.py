"""Monthly means for CMIP's tools: values by hand, CF conventions by an independent checker."""

import re
import shutil

import iris
import iris.analysis
import netCDF4
import numpy as np
import pytest
import xarray
from cftime import DatetimeNoLeap

from climsim.constants import DRY_AIR_GAS_CONSTANT, GRAVITY
from climsim.errors import ClimSimError
from climsim.evaluation.cmor import to_pressure, write_cmor
from climsim.evaluation.cmor_table import CMOR_VARIABLES, PLEV19
from climsim.evaluation.config import CmorConfig
from climsim.netcdf import write_variables
from climsim.online.history import Sample, history_variables
from climsim.runs.fields import HISTORY_FIELDS
from tests.cf_checker import violations
from tests.evaluation_synthetic import weather, write_run
from tests.grids import make_grid

GRID = make_grid(8, 6)
NAME = "{}_Amon_climsim_run_r1i1p1f1_gn_000101-000102.nc"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("cmor") / "run", months=2, grid=GRID)


@pytest.fixture(scope="module")
def written(run):
    folders = {levels: run.with_name(levels) for levels in ("plev19", "model")}
    for levels, folder in folders.items():
        write_cmor(CmorConfig(run, folder, ("ta", "clw", "pr", "clwvi"), levels))
    return folders


@pytest.mark.parametrize("levels", ["plev19", "model"])
@pytest.mark.parametrize("name", ["ta", "clw", "pr"])
def test_monthly_means_follow_the_cf_conventions(written, levels, name):
    assert violations(written[levels] / NAME.format(name)) == []


def test_history_files_follow_the_cf_conventions(tmp_path):
    sample = Sample(DatetimeNoLeap(1, 1, 1), DatetimeNoLeap(1, 2, 1), 72, weather(GRID, 1.0, 0))
    about = {"Conventions": "CF-1.8", "case": "x"}
    write_variables(tmp_path / "x.nc", history_variables([sample], GRID), about, unlimited="time")
    assert violations(tmp_path / "x.nc") == []


def one_cube(path, name):
    """The variable of that standard name, as Iris, which ESMValTool builds on, reads it."""
    (cube,) = iris.load(path, name)
    return cube


def test_iris_reads_monthly_means_with_their_pressures_and_bounds(run, written):
    history = xarray.open_mfdataset(str(run / "*.h0.*.nc"), data_vars="minimal")
    on_levels = one_cube(written["plev19"] / NAME.format("ta"), "air_temperature")
    assert on_levels.coord("air_pressure").points.tolist() == list(PLEV19)
    assert on_levels.coord("time").has_bounds()
    assert on_levels.cell_methods[0].method == "mean"
    model = one_cube(written["model"] / NAME.format("ta"), "air_temperature")
    pressure = model.coord("air_pressure")
    np.testing.assert_allclose(
        pressure.points[1], GRID.midpoint_pressure(history["PS"].values[1]), rtol=1e-6
    )
    rain = one_cube(written["model"] / NAME.format("pr"), "precipitation_flux")
    mean = rain.collapsed("time", iris.analysis.MEAN).data
    np.testing.assert_allclose(mean, 1000.0 * history["PRECT"].values.mean(axis=0), rtol=1e-5)


def test_iris_reads_history_files(run):
    water = one_cube(run / "run.eam.h0.0001-01.nc", "atmosphere_mass_content_of_water_vapor")
    assert (str(water.units), water.shape) == ("kg/m2", (1, GRID.n_columns))
    assert water.coord("latitude").points.tolist() == GRID.lat.tolist()


def test_the_checker_finds_a_violation(run, tmp_path):
    with xarray.open_dataset(run / "run.eam.h0.0001-01.nc", decode_times=False) as dataset:
        dataset["T"].attrs |= {"units": "kelvins of old", "standard_name": "warmth"}
        dataset.to_netcdf(tmp_path / "bad.nc")
    assert any("warmth" in text for text in violations(tmp_path / "bad.nc"))


def test_values_and_units_are_those_of_the_table(run, written):
    history = xarray.open_mfdataset(str(run / "*.h0.*.nc"), data_vars="minimal")
    time = xarray.coders.CFDatetimeCoder(use_cftime=True)
    rain = xarray.open_dataset(written["plev19"] / NAME.format("pr"), decode_times=time)
    np.testing.assert_allclose(rain["pr"], history["PRECT"] * 1000.0, rtol=1e-6)
    assert (rain["pr"].units, rain["pr"].standard_name) == ("kg m-2 s-1", "precipitation_flux")
    assert [str(t)[:10] for t in rain.time.values] == ["0001-01-16", "0001-02-15"]
    assert {"lat", "lon"} <= set(rain["pr"].coords)
    water = xarray.open_dataset(written["model"] / NAME.format("clwvi"), decode_times=time)
    np.testing.assert_allclose(water["clwvi"], history["TGCLDLWP"] + history["TGCLDIWP"], rtol=1e-6)
    model = xarray.open_dataset(written["model"] / NAME.format("ta"), decode_times=time)
    np.testing.assert_allclose(model["ta"], history["T"], rtol=1e-6)
    pressure = (model.ap + model.b * model.ps).transpose("time", "lev", "ncol")
    np.testing.assert_allclose(pressure[0], GRID.midpoint_pressure(history["PS"].values[0]), 1e-6)


def test_pressure_levels_are_interpolated_in_log_pressure_and_missing_outside(run, written):
    midpoints = np.array([[5e3, 5e3], [2e4, 2e4], [9e4, 8e4]])
    profile = 10.0 * np.log(midpoints)
    found = to_pressure(profile, midpoints, np.array([1.01e5, 8.2e4]))
    exact = 10.0 * np.log(np.array(PLEV19))
    inside = (np.array(PLEV19) >= 5e3) & (np.array(PLEV19) <= 9e4)
    np.testing.assert_allclose(found[inside, 0], exact[inside])
    # Between the lowest midpoint and the surface the lowest value stands.
    assert found[0, 0] == pytest.approx(profile[-1, 0])
    assert np.isnan(found[:3, 1]).all()
    assert np.isnan(found[np.array(PLEV19) < 5e3]).all()
    with xarray.open_dataset(written["plev19"] / NAME.format("ta"), decode_times=False) as means:
        assert means["ta"].dims == ("time", "plev", "ncol")
        assert means["ta"].encoding["_FillValue"] == np.float32(1e20)
        assert np.isfinite(means["ta"].sel(plev=50000.0)).all()
    with xarray.open_dataset(written["plev19"] / NAME.format("clw"), decode_times=False) as cloud:
        assert "lev" in cloud["clw"].dims


@pytest.fixture
def isothermal(run, tmp_path):
    """A run of dry columns of one temperature, by hand in hydrostatic balance, and its scale."""
    temperature, surface = 290.0, np.linspace(98500.0, 101300.0, GRID.n_columns)
    scale = DRY_AIR_GAS_CONSTANT * temperature / GRAVITY
    folder = shutil.copytree(run, tmp_path / "isothermal")
    for path in folder.glob("*.h0.*.nc"):
        with netCDF4.Dataset(path, "a") as file:
            height = file.createVariable("Z3", "f4", file["T"].dimensions)
            height[0] = scale * np.log(surface / GRID.midpoint_pressure(surface))
            file["T"][:], file["PS"][0] = temperature, surface
    return folder, surface, scale


def first_month(run, out, name):
    write_cmor(CmorConfig(run, out, (name,)))
    (path,) = out.glob(f"{name}_*.nc")
    with xarray.open_dataset(path, decode_times=False) as means:
        return means[name].isel(time=0).load()


def test_height_continues_hydrostatically_below_the_lowest_level(isothermal, tmp_path):
    run, surface, scale = isothermal
    found = first_month(run, tmp_path / "zg", "zg").sel(plev=100000.0)
    inside = surface >= 1e5
    np.testing.assert_array_equal(np.isfinite(found), inside)
    np.testing.assert_allclose(found[inside], scale * np.log(surface[inside] / 1e5), atol=0.02)
    temperature = first_month(run, tmp_path / "ta", "ta").sel(plev=100000.0)
    np.testing.assert_allclose(temperature[inside], 290.0)


def test_height_is_missing_below_the_lowest_level_where_there_is_no_temperature(
    isothermal, tmp_path, caplog
):
    run, surface, scale = isothermal
    (first, _) = sorted(run.glob("*.h0.*.nc"))
    with xarray.open_dataset(first, decode_times=False) as month:
        whole = month.load().drop_vars("T")
    whole.to_netcdf(first)
    found = first_month(run, tmp_path / "zg", "zg")
    expected = scale * np.log(surface / 70000.0)
    np.testing.assert_allclose(found.sel(plev=70000.0), expected, atol=0.02)
    assert np.isnan(found.sel(plev=100000.0)).all()
    said = "missing below .* and below the lowest level where the history holds no T"
    assert re.search(said, found.attrs["comment"])
    assert re.search(rf"zg: {said} \(1 of 2 months\)", caplog.text)


def test_table_names_fields_that_histories_hold():
    fields = {name for variable in CMOR_VARIABLES.values() for name in variable.fields}
    assert fields <= HISTORY_FIELDS.keys()
    for variable in CMOR_VARIABLES.values():
        assert variable.profile == HISTORY_FIELDS[variable.fields[0]].profile


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"variables": ("tas",)}, r"unknown variable of the table Amon 'tas'"),
        ({"variables": ("cl",)}, r"variables=cl: made of CLOUD, PS, .* hold no CLOUD"),
        ({"variables": ("T",)}, r"found 'T': ta is made of that field of the history"),
        (
            {"variables": ("ta", "pr", "ta")},
            r"variables: expected different entries, found \['ta', ",
        ),
        ({"levels": "plev8"}, r"levels: expected one of model, plev19"),
    ],
)
def test_what_a_run_lacks_is_named(run, tmp_path, keys, message):
    with pytest.raises(ClimSimError, match=message):
        write_cmor(CmorConfig(run, tmp_path / "x", **keys))
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_whole_month_is_refused(tmp_path):
    run = write_run(tmp_path / "days", days=2, grid=GRID)
    with pytest.raises(ClimSimError, match="no whole month"):
        write_cmor(CmorConfig(run, tmp_path / "x"))


def test_a_second_call_replaces_the_files_of_the_first(run, tmp_path):
    folder = tmp_path / "cmor"
    write_cmor(CmorConfig(run, folder, ("ta", "ua")))
    write_cmor(CmorConfig(run, folder, ("ta",), "model"))
    assert sorted(p.name for p in folder.iterdir()) == ["cmor.json", NAME.format("ta")]
    assert [p.name for p in tmp_path.iterdir()] == ["cmor"]


def test_a_file_of_the_user_beside_the_monthly_means_is_refused_and_kept(run, tmp_path):
    folder = tmp_path / "cmor"
    write_cmor(CmorConfig(run, folder, ("ta",)))
    # The name of another model's file in the same archive.
    theirs = folder / "ta_Amon_MPI-ESM_historical_r1i1p1f1_gn_000101-000102.nc"
    for name in (theirs.name, "thesis.txt"):
        (folder / name).write_text("three years of work")
        with pytest.raises(ClimSimError, match=rf"nothing beside it, but it holds {name}: move"):
            write_cmor(CmorConfig(run, folder, ("ua",)))
        assert (folder / name).read_text() == "three years of work"
        (folder / name).unlink()
    (folder / "cmor.json").write_text("{")
    with pytest.raises(ClimSimError, match=r"it holds ta_Amon_climsim.*: move that away"):
        write_cmor(CmorConfig(run, folder, ("ua",)))


def test_a_file_is_no_folder_of_a_run(run, tmp_path):
    history = run / "run.eam.h0.0001-01.nc"
    with pytest.raises(ClimSimError, match=r"nc: expected the folder of a run, found a file"):
        write_cmor(CmorConfig(history, tmp_path / "x"))
