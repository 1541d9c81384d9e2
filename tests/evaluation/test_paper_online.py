"""Online metrics by the paper's definitions, computed again from the raw fields in plain NumPy."""

import shutil
from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import xarray

from climsim.constants import E3SM
from climsim.errors import ClimSimError
from climsim.evaluation.config import OnlineConfig
from climsim.evaluation.online import evaluate_online
from climsim.evaluation.regions import N_BINS
from climsim.physics.thermodynamics import midpoint_heights
from climsim.results.stability import comparable
from tests.evaluation_synthetic import write_run
from tests.grids import make_grid

GRID = make_grid(columns=11, levels=7)
BIN = np.minimum((GRID.lat + 90) // 10, 17).astype(int)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("paper")
    for name, growing in (("mmf1", 0.0), ("unet-v6-7", 1.0)):
        write_run(root / name, months=3, growing=growing, seed=1, grid=GRID)
        write_run(root / name, days=2, growing=growing, seed=1, grid=GRID)
    return root


@pytest.fixture
def config(folders, tmp_path):
    return OnlineConfig((folders / "unet-v6-7",), folders / "mmf1", tmp_path / "online.nc")


@pytest.fixture(scope="module")
def metrics(folders):
    return scored(OnlineConfig((folders / "unet-v6-7",), folders / "mmf1", folders / "online.nc"))


def scored(config):
    with xarray.open_dataset(evaluate_online(config)) as dataset:
        return dataset.load()


def months(folder, name, stream="h0"):
    """A field (mean, ...) of all files of a stream."""
    found = []
    for path in sorted(folder.glob(f"*.eam.{stream}.*.nc")):
        with netCDF4.Dataset(path) as file:
            found.append(np.ma.getdata(file[name][0]).astype(float))
    return np.stack(found)


def zonal(values, weights=GRID.area):
    """Weighted mean (..., bin) over the columns in each bin of 10 degrees."""
    rows = [(values * weights * (b == BIN)).sum(-1) for b in range(N_BINS)]
    total = np.stack([(weights * (b == BIN)).sum(-1) for b in range(N_BINS)], axis=-1)
    with np.errstate(invalid="ignore"):
        return np.stack(rows, axis=-1) / total


def test_tropopause_is_the_time_mean_of_the_coupler_level(metrics, folders):
    t, q, ps = (months(folders / "mmf1", name) for name in ("T", "Q", "PS"))
    nominal = GRID.hyam * 1e5 + GRID.hybm * 1e5
    found = np.full(ps.shape, np.nan)
    for month, column in np.ndindex(ps.shape):
        p = GRID.hyam * 1e5 + GRID.hybm * ps[month, column]
        edges = (GRID.hyai * 1e5 + GRID.hybi * ps[month, column])[:, None]
        z = midpoint_heights(t[month, :, [column]].T, q[month, :, [column]].T, edges, E3SM)[:, 0]
        kappa = E3SM.dry_air_gas_constant / E3SM.dry_air_heat_capacity
        theta = t[month, :, column] * (1e5 / p) ** kappa
        for level in range(1, len(p) - 1):
            slope = (theta[level - 1] - theta[level + 1]) / (z[level - 1] - z[level + 1])
            if slope > 0.01 and p[level] <= 4e4:
                found[month, column] = nominal[level]
    expected = zonal(np.nanmean(found, axis=0))
    np.testing.assert_allclose(metrics["tropopause"], expected, rtol=1e-6)
    assert "coupler (paper)" in metrics["tropopause"].attrs["comment"]


def test_tropopause_of_the_world_meteorological_organization_is_an_option(config, metrics):
    other = scored(replace(config, tropopause="wmo"))
    assert "World Meteorological Organization (option)" in other["tropopause"].attrs["comment"]
    assert other.attrs["tropopause"] == "wmo"
    assert not np.allclose(other["tropopause"], metrics["tropopause"], equal_nan=True)


def test_condensate_tendency_is_summed_before_its_error_is_taken(metrics, folders):
    run, truth = (
        (months(folders / n, "DQ2PHYS") + months(folders / n, "DQ3PHYS")).mean(axis=0)
        for n in ("unet-v6-7", "mmf1")
    )
    ps = months(folders / "mmf1", "PS").mean(axis=0)
    dp = np.diff(GRID.hyai[:, None] * 1e5 + GRID.hybi[:, None] * ps, axis=0)
    expected = np.sqrt(np.average((run - truth) ** 2, weights=dp * GRID.area))
    assert float(metrics["rmse_mean_DQnPHYS"][0]) == pytest.approx(expected, rel=1e-5)
    assert "growth_monthly_DQnPHYS" in metrics


def test_cloud_is_liquid_plus_ice_and_its_path_the_column_integral(metrics, folders):
    run, truth = (
        months(folders / n, "CLDLIQ") + months(folders / n, "CLDICE") for n in ("unet-v6-7", "mmf1")
    )
    ps = months(folders / "unet-v6-7", "PS")[:, None]
    dp = np.diff(GRID.hyai[:, None] * 1e5 + GRID.hybi[:, None] * ps, axis=1)
    path = (run * dp).sum(axis=1) / 9.80616
    mean = np.average(path, weights=GRID.area, axis=1)
    deviation = np.sqrt(np.average((path - mean[:, None]) ** 2, weights=GRID.area, axis=1))
    for statistic, expected in (("mean", mean), ("deviation", deviation)):
        found = metrics[f"series_monthly_cloud_path_{statistic}"].sel(region="global")[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    difference = (run - truth)[1:].mean(axis=0)
    np.testing.assert_allclose(metrics["zonal_bias_TOTCLD"][0], zonal(difference), rtol=1e-3)


def test_run_without_surface_fractions_has_those_of_the_reference(config, folders, tmp_path):
    bare = shutil.copytree(folders / "unet-v6-7", tmp_path / "unet-v6-7")
    for path in bare.glob("*.h0.*.nc"):
        with xarray.open_dataset(path, decode_times=False) as dataset:
            smaller = dataset.drop_vars(["LANDFRAC", "OCNFRAC", "ICEFRAC"]).load()
        smaller.to_netcdf(path)
    found = scored(replace(config, runs=(bare,)))["zonal_precipitation_by_surface"][0]
    rain, land = months(bare, "PRECT"), months(folders / "mmf1", "LANDFRAC")
    expected = zonal(rain, land * GRID.area).mean(axis=0)
    np.testing.assert_allclose(found.sel(surface="land"), expected, rtol=1e-5)


def test_months_count_equally_and_by_their_length_as_an_option(config, metrics, folders):
    run, truth = (months(folders / n, "T") for n in ("unet-v6-7", "mmf1"))
    by_length = scored(replace(config, month_weights="length"))
    for found, weights in ((metrics, [1, 1, 1]), (by_length, [31, 28, 31])):
        mean = np.average(run - truth, axis=0, weights=weights)
        expected = np.sqrt(np.average(mean**2, axis=-1, weights=GRID.area))
        np.testing.assert_allclose(found["rmse_profile_T"][0], expected, rtol=2e-4)
    assert "means count equally (paper)" in metrics["rmse_mean_T"].attrs["comment"]
    assert "length (option)" in by_length["rmse_mean_T"].attrs["comment"]


def test_zonal_bias_leaves_the_first_month_out_unless_it_is_to_be_counted(config, metrics, folders):
    difference = months(folders / "unet-v6-7", "Q") - months(folders / "mmf1", "Q")
    counted = scored(replace(config, first_month="counted"))
    for found, first in ((metrics, 1), (counted, 0)):
        expected = zonal(difference[first:].mean(axis=0))
        np.testing.assert_allclose(found["zonal_bias_Q"][0], expected, rtol=1e-3, atol=1e-9)
    assert metrics["zonal_bias_Q"].attrs["comment"].startswith("without the first month (paper)")


@pytest.mark.parametrize("days", [1.0, 31.0])
def test_zonal_bias_leaves_out_no_second_month_where_days_are_skipped(config, folders, days):
    difference = months(folders / "unet-v6-7", "Q") - months(folders / "mmf1", "Q")
    found = scored(replace(config, skip_days=days))
    assert float(found["mean_days"][0]) == 28 + 31
    expected = zonal(difference[1:].mean(axis=0))
    np.testing.assert_allclose(found["zonal_bias_Q"][0], expected, rtol=1e-3, atol=1e-9)


def test_precipitation_by_surface_weighs_area_times_fraction_month_by_month(metrics, folders):
    rain = months(folders / "unet-v6-7", "PRECT")
    for surface, name in (("all", None), ("land", "LANDFRAC"), ("sea ice", "ICEFRAC")):
        share = 1.0 if name is None else months(folders / "unet-v6-7", name)
        expected = zonal(rain, share * GRID.area * np.ones_like(rain)).mean(axis=0)
        found = metrics["zonal_precipitation_by_surface"].sel(run="unet-v6-7", surface=surface)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_rain_density_has_the_bins_and_weights_of_the_paper(metrics, folders):
    rate = months(folders / "unet-v6-7", "PRECT", "h2") * 86400 * 1000
    fraction = months(folders / "mmf1", "OCNFRAC").mean(axis=0)
    weights = np.tile(GRID.area * fraction, (len(rate), 1))
    edges = np.arange(-2, 180, 4)
    expected, _ = np.histogram(rate.ravel(), bins=edges, weights=weights.ravel(), density=True)
    found = metrics["precipitation_density"].sel(run="unet-v6-7", surface="ocean")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert metrics["rain_step"].values.tolist() == list(range(0, 177, 4))
    assert metrics["precipitation_density"].attrs["comment"] == "means of stream h2"


def test_largest_rain_is_that_of_any_sample_over_the_surface_type(metrics, folders):
    folder = folders / "unet-v6-7"
    rain = 86.4e6 * months(folder, "PRECT", "h2")
    land = months(folder, "LANDFRAC", "h2") > 0.5
    found = metrics["precipitation_largest"].sel(run="unet-v6-7")
    assert float(found.sel(surface="all")) == pytest.approx(rain.max(), rel=1e-5)
    assert float(found.sel(surface="land")) == pytest.approx(rain[land].max(), rel=1e-5)


def test_tropospheric_bias_is_the_largest_zonal_one_below_the_tropopause(metrics, folders):
    ps = months(folders / "mmf1", "PS").mean(axis=0)
    pressure = zonal(GRID.hyam[:, None] * 1e5 + GRID.hybm[:, None] * ps)
    for name in ("T", "Q"):
        difference = months(folders / "unet-v6-7", name) - months(folders / "mmf1", name)
        bias = np.abs(zonal(difference[1:].mean(axis=0)))
        expected = np.nanmax(np.where(pressure > metrics["tropopause"].values, bias, np.nan))
        assert float(metrics[f"tropospheric_bias_{name}"][0]) == pytest.approx(expected, rel=1e-3)


def test_samples_without_a_mean_are_called_instantaneous(folders, tmp_path):
    for name in ("mmf1", "unet-v6-7"):
        write_run(tmp_path / name, days=1, seed=1, grid=GRID)
        for path in (tmp_path / name).glob("*.h2.*.nc"):
            with netCDF4.Dataset(path, "a") as file:
                del file["PRECT"].cell_methods
    config = OnlineConfig((tmp_path / "unet-v6-7",), tmp_path / "mmf1", tmp_path / "o.nc")
    about = scored(config)["precipitation_density"].attrs["comment"]
    assert about == "instantaneous samples of stream h2"


def test_part_of_a_month_is_no_month_and_years_end_the_mean(tmp_path):
    grid = make_grid(columns=5, levels=5)
    for name, count, status in (("mmf1", 26, {}), ("unet-v6-7", 13, {"status": "unstable"})):
        write_run(tmp_path / name, months=count, seed=1, growing=0.2, grid=grid, record=status)
        first = sorted((tmp_path / name).glob("*.h0.*.nc"))[0]
        with netCDF4.Dataset(first, "a") as file:
            file["time_bnds"][0, 0] = file["time_bnds"][0, 1] - 6.0
    config = OnlineConfig((tmp_path / "unet-v6-7",), tmp_path / "mmf1", tmp_path / "o.nc", years=1)
    found = scored(config)
    assert found.sizes["month"] == 25
    assert float(found["mean_days"][0]) == found.attrs["mean_window"] == 365
    members = found.isel(run=[0])
    assert comparable(members).tolist() == [True]
    assert comparable(scored(replace(config, years=0)).isel(run=[0])).tolist() == [False]
    for unfit, message in (
        ({"years": 3}, r"years=3: expected years that the reference .*mmf1 has, found \d+.* days"),
        ({"skip_days": 900.0}, r"skip_days=900: expected days that leave some of the \d+.* that"),
    ):
        with pytest.raises(ClimSimError, match=message):
            evaluate_online(replace(config, **unfit))


def test_bias_of_the_first_month_is_an_area_mean_by_day_and_level(metrics, folders):
    run, truth = (months(folders / name, "Q", "h1") for name in ("unet-v6-7", "mmf1"))
    tropics = (GRID.lat >= -30) & (GRID.lat < 30)
    expected = np.average((run - truth)[..., tropics], axis=-1, weights=GRID.area[tropics])
    found = metrics["first_month_bias_Q"].sel(run="unet-v6-7", region="tropics")
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-9)
    assert metrics["first_day"].values.tolist() == [1, 2]
    assert np.isnan(metrics["first_month_bias_Q"].sel(run="reference")).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tropopause": "cold"},
            "tropopause: expected one of coupler, wmo, found 'cold'",
        ),
        ({"month_weights": "days"}, "month_weights: expected one of equal, length, found 'days'"),
        ({"years": -1}, "years: expected a whole number >= 0, found -1"),
    ],
)
def test_unknown_definitions_are_refused_by_name(config, change, message):
    with pytest.raises(ClimSimError, match=message):
        replace(config, **change)
