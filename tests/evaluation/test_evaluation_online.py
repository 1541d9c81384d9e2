"""Online metrics of synthetic run folders: hand-checked values, and runs that are not whole."""

import json
import shutil
from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import xarray

from climsim.cards import ModelCard, TrainingCard
from climsim.constants import E3SM
from climsim.errors import ClimSimError
from climsim.evaluation.config import OnlineConfig
from climsim.evaluation.history import RunHistory
from climsim.evaluation.members import Member, member_of, member_of_model
from climsim.evaluation.online import evaluate_online
from climsim.evaluation.online_run import PROFILES
from climsim.evaluation.precipitation import EDGES, PrecipitationCounts
from climsim.evaluation.regions import N_BINS, band_members, zonal_mean
from climsim.evaluation.stability import Outcome, alive_fraction
from climsim.physics.columns import layer_mass
from tests.cf_checker import violations_of_metrics
from tests.evaluation_synthetic import write_run
from tests.grids import make_globe, make_grid


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "mmf1")
    write_run(root / "mmf2", seed=1, growing=0.1)
    write_run(root / "unet-standard-7", seed=2, growing=1.0, bias=2.0)
    write_run(
        root / "unet-standard-43",
        days=2,
        seed=3,
        growing=1.0,
        record={"status": "unstable", "days": 2.4, "days_wanted": 4.0, "sypd": None},
    )
    return root


@pytest.fixture
def config(folders, tmp_path):
    runs = (folders / "unet-standard-7", folders / "unet-standard-43")
    return OnlineConfig(runs, folders / "mmf1", tmp_path / "online.nc", folders / "mmf2")


@pytest.fixture(scope="module")
def metrics(folders):
    runs = (folders / "unet-standard-7", folders / "unet-standard-43")
    return metrics_of(OnlineConfig(runs, folders / "mmf1", folders / "online.nc", folders / "mmf2"))


def metrics_of(config):
    with xarray.open_dataset(evaluate_online(config)) as dataset:
        return dataset.load()


def read(folder, stream, index, name):
    path = sorted(folder.glob(f"*.eam.{stream}.*.nc"))[index]
    with netCDF4.Dataset(path) as file:
        return np.ma.getdata(file[name][0]).astype(float)


def test_online_metrics_follow_the_cf_conventions(metrics, folders, tmp_path):
    assert metrics.attrs["Conventions"] == "CF-1.11"
    assert violations_of_metrics(folders / "online.nc", tmp_path) == []


def test_days_that_share_no_weather_are_five_days_of_the_reference_apart(tmp_path, metrics):
    write_run(tmp_path / "long", days=8)
    write_run(tmp_path / "unet-standard-7", days=8, seed=2, growing=1.0)
    out = tmp_path / "online.nc"
    runs = (tmp_path / "unet-standard-7",)
    found = metrics_of(OnlineConfig(runs, tmp_path / "long", out))["unrelated_daily_T"]
    grid, squares = make_globe(), []
    for day in range(3):
        earlier, later = (read(tmp_path / "long", "h1", d, "T") for d in (day, day + 5))
        ps = read(tmp_path / "long", "h1", day, "PS")
        interfaces = grid.hyai[:, None] * 1e5 + grid.hybi[:, None] * ps
        weights = np.diff(interfaces, axis=0) * grid.area
        squares.append(((later - earlier) ** 2 * weights).sum() / weights.sum())
    np.testing.assert_allclose(found, np.sqrt(np.mean(squares)), rtol=1e-5)
    assert found.dims == ()
    assert "unrelated_daily_T" not in metrics  # of four days


def test_rmse_growth_is_weighted_by_the_mass_of_the_layers(metrics, folders):
    grid = make_globe()
    run, truth = (read(folders / n, "h1", 2, "T") for n in ("unet-standard-7", "mmf1"))
    ps = read(folders / "mmf1", "h1", 2, "PS")
    interfaces = grid.hyai[:, None] * 1e5 + grid.hybi[:, None] * ps
    weights = np.diff(interfaces, axis=0) * grid.area
    expected = np.sqrt(((run - truth) ** 2 * weights).sum() / weights.sum())
    found = metrics["growth_daily_T"].sel(run="unet-standard-7")[2]
    assert float(found) == pytest.approx(expected, rel=1e-6)
    assert metrics["day"].values.tolist() == [1, 2, 3, 4]


def test_roughness_is_the_distance_from_the_neighbouring_levels_below_500_hpa(metrics, folders):
    field, ps = (read(folders / "unet-standard-7", "h1", 2, name) for name in ("T", "PS"))
    grid, total, mass = make_globe(), 0.0, 0.0
    for level in range(1, grid.n_levels - 1):
        for column in range(grid.n_columns):
            pressure = grid.hyam[level] * 1e5 + grid.hybm[level] * ps[column]
            if pressure < 5e4:
                continue
            above, here, below = field[level - 1 : level + 2, column]
            edges = grid.hyai[level : level + 2] * 1e5 + grid.hybi[level : level + 2] * ps[column]
            weight = (edges[1] - edges[0]) * grid.area[column]
            total += weight * (here - (above + below) / 2) ** 2
            mass += weight
    found = metrics["roughness_daily_T"].sel(run="unet-standard-7")[2]
    assert float(found) == pytest.approx(np.sqrt(total / mass), rel=1e-6)
    assert np.isfinite(metrics["roughness_daily_T"].sel(run="reference")).all()


def test_floor_is_the_difference_of_the_two_references(metrics):
    assert metrics["role"].values.tolist() == ["member", "member", "reference", "floor"]
    floor = metrics["growth_daily_T"].sel(run="reference_perturbed")
    member = metrics["growth_daily_T"].sel(run="unet-standard-7")
    assert (floor < member).all()
    assert np.isnan(metrics["growth_daily_T"].sel(run="reference")).all()


def test_runs_with_full_physics_are_named_by_the_physics_of_their_own_record(folders, tmp_path):
    for name, physics in (("first", "MMF"), ("second", "MMF"), ("unnamed", "")):
        shutil.copytree(folders / "mmf1", tmp_path / name)
        record = json.loads((tmp_path / name / "record.json").read_text())
        (tmp_path / name / "record.json").write_text(json.dumps(record | {"physics": physics}))
    runs, out = (folders / "unet-standard-7",), tmp_path / "online.nc"
    for first, second, expected in (
        ("first", "second", ["MMF1", "MMF2"]),
        ("unnamed", "second", ["reference", "MMF2"]),
        ("first", "unnamed", ["MMF1", "reference_perturbed"]),
    ):
        found = metrics_of(OnlineConfig(runs, tmp_path / first, out, tmp_path / second))
        assert found["run"].values.tolist()[1:] == expected


def test_days_after_a_failure_are_missing_and_the_failure_is_recorded(metrics):
    died = metrics.sel(run="unet-standard-43")
    assert np.isfinite(died["growth_daily_Q"]).values.tolist() == [True, True, False, False]
    assert str(died["status"].values) == "unstable"
    assert float(died["mean_days"]) == 2
    fraction = metrics["alive_fraction"].values[0]
    elapsed = metrics["elapsed"].values
    assert fraction[elapsed < 2.4].tolist() == [1.0] * (elapsed < 2.4).sum()
    assert fraction[elapsed >= 2.4].tolist() == [0.5] * (elapsed >= 2.4).sum()


def test_time_mean_rmse_and_bias_of_a_hand_worked_mean(metrics, folders):
    grid = make_globe()
    run, truth = (
        np.mean([read(folders / n, "h1", i, "Q") for i in range(4)], axis=0)
        for n in ("unet-standard-7", "mmf1")
    )
    found = metrics.sel(run="unet-standard-7")
    expected = np.sqrt(((run - truth) ** 2 * grid.area).sum(axis=1) / grid.area.sum())
    np.testing.assert_allclose(found["rmse_profile_Q"], expected, rtol=1e-5)
    south = grid.lat < -80
    bias = np.average((run - truth)[:, south], axis=1, weights=grid.area[south])
    np.testing.assert_allclose(found["zonal_bias_Q"][:, 0], bias, rtol=1e-4, atol=1e-12)


def test_first_days_are_left_out_of_means_only(config, metrics):
    whole, cut = metrics, metrics_of(replace(config, skip_days=1.0))
    member = {"run": "unet-standard-7"}
    assert float(cut["mean_days"].sel(member)) == 3
    assert not np.allclose(cut["rmse_mean_T"].sel(member), whole["rmse_mean_T"].sel(member))
    xarray.testing.assert_equal(cut["growth_daily_T"], whole["growth_daily_T"])


def test_months_are_used_for_means_where_there_are_two(tmp_path):
    for name, growing in (("mmf1", 0.0), ("unet-v6-7", 1.0)):
        write_run(tmp_path / name, months=3, growing=growing, seed=1)
    config = OnlineConfig((tmp_path / "unet-v6-7",), tmp_path / "mmf1", tmp_path / "o.nc")
    metrics = metrics_of(config)
    assert metrics.attrs["mean_stream"] == "h0"
    assert float(metrics["mean_days"][0]) == 90
    assert metrics["growth_monthly_U"].shape == (2, 3)
    assert metrics["month_date"].values.tolist() == ["0001-01-01", "0001-02-01", "0001-03-01"]


def test_file_cut_short_costs_its_day_and_is_named(config, folders, tmp_path):
    copy = tmp_path / "unet-standard-7"
    write_run(copy, seed=2, growing=1.0, bias=2.0)
    damaged = sorted(copy.glob("*.h1.*.nc"))[1]
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    sorted(copy.glob("*.h1.*.nc"))[3].unlink()
    metrics = metrics_of(replace(config, runs=(copy,)))
    growth = metrics["growth_daily_T"].sel(run="unet-standard-7")
    assert np.isfinite(growth).values.tolist() == [True, False, True, False]
    problems = json.loads(metrics.attrs["problems"])["unet-standard-7"]
    assert any(damaged.name in text for text in problems)


def test_field_that_is_not_finite_is_left_out_and_named(config, tmp_path):
    copy = write_run(tmp_path / "unet-standard-7", seed=2, growing=1.0)
    path = sorted(copy.glob("*.h1.*.nc"))[0]
    with netCDF4.Dataset(path, "r+") as file:
        file["T"][0, 3, 5] = np.nan
    metrics = metrics_of(replace(config, runs=(copy,)))
    assert np.isnan(metrics["growth_daily_T"][0, 0])
    assert "T not finite" in metrics.attrs["problems"]


def test_field_that_no_file_holds_is_missing_not_zero(config, tmp_path):
    copy = write_run(tmp_path / "unet-standard-7", seed=2, growing=1.0)
    for path in copy.glob("*.h1.*.nc"):
        with xarray.open_dataset(path, decode_times=False) as dataset:
            smaller = dataset.drop_vars(["DUPHYS", "CLDICE"]).load()
        smaller.to_netcdf(path)
    metrics = metrics_of(replace(config, runs=(copy,)))
    assert np.isnan(metrics["growth_daily_DUPHYS"][0]).all()
    assert np.isnan(metrics["rmse_mean_DUPHYS"][0])
    # The cloud path then is the sum of those of liquid and ice.
    assert np.isfinite(metrics["series_daily_cloud_path_mean"][0]).all()


def changed_copy(folder, copy, stream, change):
    """A copy of a run with the files of a stream changed; a copy that is there is changed again."""
    if not copy.exists():
        shutil.copytree(folder, copy)
    for path in copy.glob(f"*.{stream}.*.nc"):
        with xarray.open_dataset(path, decode_times=False) as dataset:
            changed = change(dataset).load()
        path.unlink()
        changed.to_netcdf(path, unlimited_dims=["time"])
    return copy


def test_run_without_surface_pressure_is_weighted_by_the_mass_of_the_reference(
    config, folders, metrics, tmp_path
):
    name = "unet-standard-7"
    bare = changed_copy(folders / name, tmp_path / name, "h1", lambda d: d.drop_vars("PS"))
    found, whole = (m.sel(run=name) for m in (metrics_of(replace(config, runs=(bare,))), metrics))
    for score in ("rmse_mean_T", "rmse_profile_T", "tropospheric_bias_T", "growth_daily_T"):
        np.testing.assert_allclose(found[score], whole[score])


def test_reference_without_surface_pressure_costs_only_what_is_weighted_by_mass(
    config, folders, metrics, tmp_path
):
    bare = changed_copy(folders / "mmf1", tmp_path / "mmf1", "h1", lambda d: d.drop_vars("PS"))
    found = metrics_of(replace(config, reference=bare))
    name = "unet-standard-7"
    assert "rmse_mean_T" not in found
    xarray.testing.assert_allclose(
        found["rmse_profile_T"].sel(run=name), metrics["rmse_profile_T"].sel(run=name)
    )
    problems = json.loads(found.attrs["problems"])[name]
    assert any(text.startswith("no PS of h1 in the reference; no score of") for text in problems)


def test_rain_in_two_parts_is_found_in_the_finest_stream_that_holds_it(
    config, folders, metrics, tmp_path
):
    def parted(dataset):
        parts = {"PRECC": 0.25 * dataset["PRECT"], "PRECL": 0.75 * dataset["PRECT"]}
        return dataset.drop_vars("PRECT").assign(parts)

    copies = [
        changed_copy(folders / name, tmp_path / name, stream, change)
        for name in ("mmf1", "unet-standard-7")
        for stream, change in (("h1", parted), ("h2", lambda d: d.drop_vars("PRECT")))
    ]
    found = metrics_of(replace(config, reference=copies[0], runs=(copies[2],)))
    assert found.attrs["precipitation_stream"] == "h1"
    rain = 86.4e6 * np.stack([read(folders / "mmf1", "h1", day, "PRECT") for day in range(4)])
    largest = found["precipitation_largest"].sel(run="reference", surface="all")
    assert float(largest) == pytest.approx(rain.max(), rel=1e-5)


def test_run_that_died_on_its_first_day_has_no_mean(config, tmp_path):
    copy = write_run(
        tmp_path / "unet-standard-7", days=1, record={"status": "unstable", "days": 0.3}
    )
    metrics = metrics_of(replace(config, runs=(copy,), skip_days=1.0))
    assert np.isnan(metrics["rmse_mean_T"].sel(run="unet-standard-7"))
    assert "no mean of h1" in metrics.attrs["problems"]


@pytest.mark.slow
def test_metrics_of_several_processes_are_those_of_one(config, metrics, tmp_path):
    found = metrics_of(replace(config, workers=2, out=tmp_path / "two.nc"))
    xarray.testing.assert_equal(found, metrics)
    assert found.attrs["problems"] == metrics.attrs["problems"]


def test_two_runs_of_one_member_keep_their_own_names_and_records(config, tmp_path):
    model = {"model": str(tmp_path / "unet-standard-7.pt")}
    corrected = {"corrections": {"positivity:ptend_q0001": 7}}
    fast = write_run(tmp_path / "fast", seed=5, growing=0.5, record=model | corrected)
    metrics = metrics_of(replace(config, runs=(*config.runs, fast)))
    assert metrics["run"].values[:3].tolist() == ["unet-standard-7", "unet-standard-43", "fast"]
    records = json.loads(metrics.attrs["records"])
    assert records["fast"]["corrections"] == corrected["corrections"]
    assert records["unet-standard-7"].get("corrections") != corrected["corrections"]
    again = write_run(tmp_path / "unet-standard-7", seed=5, growing=0.5)
    metrics = metrics_of(replace(config, runs=(*config.runs, again)))
    own, _, other = metrics["run"].values[:3].tolist()
    assert (own, other) == (str(config.runs[0]), str(again))


def test_run_that_died_before_its_first_file_is_a_row_without_values(config, tmp_path):
    folder = tmp_path / "unet-standard-1024"
    folder.mkdir()
    record = {"status": "failed", "days": 0.01, "days_wanted": 4.0, "message": "killed"}
    (folder / "record.json").write_text(json.dumps(record))
    metrics = metrics_of(replace(config, runs=(*config.runs, folder)))
    row = metrics.sel(run=folder.name)
    assert row["status"] == "failed"
    assert float(row["days"]) == 0.01
    assert row["growth_daily_T"].isnull().all()
    assert "no history file" in json.loads(metrics.attrs["problems"])[folder.name]
    assert metrics["growth_daily_T"].sel(run="unet-standard-7").notnull().all()


def test_confidence_is_followed_in_time_and_kept_by_level(config, folders, tmp_path):
    copy = shutil.copytree(folders / "unet-standard-7", tmp_path / "unet-conf_loss-7")
    losses = []
    for day, path in enumerate(sorted(copy.glob("*.eam.h1.*.nc"))):
        with netCDF4.Dataset(path, "a") as file:
            shape = file["T"].shape[1:]
            values = (1 + day) * np.arange(np.prod(shape), dtype=float).reshape(shape)
            file.createVariable("DTPHYSCONF", "f8", file["T"].dimensions)[:] = values[None]
        losses.append(values)
    metrics = metrics_of(replace(config, runs=(copy, folders / "unet-standard-7")))
    grid = RunHistory.open(copy).grid
    weights = layer_mass(grid.interface_pressure(read(copy, "h1", 0, "PS")), E3SM) * grid.area
    found = metrics["confidence_daily_DTPHYSCONF"]
    assert float(found[0, 0]) == pytest.approx((losses[0] * weights).sum() / weights.sum())
    assert np.isnan(found.sel(run="unet-standard-7")).all()
    mean = sum(losses) / len(losses)
    expected = (mean * grid.area).sum(axis=1) / grid.area.sum()
    np.testing.assert_allclose(metrics["confidence_profile_DTPHYSCONF"][0], expected)
    assert "zonal_mean_DTPHYSCONF" in metrics
    assert "confidence_daily_DTPHYSLOSS" not in metrics


def test_other_grid_and_missing_folder_are_refused_in_one_line(config, tmp_path):
    other = write_run(tmp_path / "unet-standard-7", days=1, grid=make_grid(11, 20))
    with pytest.raises(
        ClimSimError, match=r"found \(20, 11\) levels and columns instead of \(20, "
    ):
        evaluate_online(replace(config, runs=(other,)))
    with pytest.raises(ClimSimError, match="no such run folder"):
        evaluate_online(replace(config, runs=(tmp_path / "nowhere",)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClimSimError, match="no readable history file"):
        RunHistory.open(tmp_path / "empty")
    with pytest.raises(ClimSimError, match=r"mean_stream: .*found 'h7'"):
        replace(config, mean_stream="h7")


def uneven(grid):
    """The same number of levels, nearer to the surface."""
    edges = np.linspace(0, 1, grid.n_levels + 1) ** 2
    middle = 0.5 * (edges[1:] + edges[:-1])
    return replace(grid, hyai=0 * edges, hybi=edges, hyam=0 * middle, hybm=middle)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (uneven, "hyam, hybm, hyai, hybi"),
        (lambda grid: replace(grid, lon=grid.lon + 1.0), "lon"),
        (lambda grid: replace(grid, lat=grid.lat[::-1]), "lat"),
        (lambda grid: replace(grid, p0=101325.0), "P0"),
    ],
)
def test_columns_or_levels_elsewhere_are_refused(config, change, named, tmp_path):
    other = write_run(tmp_path / "other", days=1, grid=change(make_globe()))
    message = rf"other: expected the grid of the reference .*mmf1, found other {named}: compare"
    with pytest.raises(ClimSimError, match=message):
        evaluate_online(replace(config, runs=(other,)))


@pytest.mark.parametrize("given", ["external", "second_reference"])
def test_further_runs_on_other_levels_are_refused_too(config, given, tmp_path):
    other = write_run(tmp_path / "other", days=1, grid=uneven(make_globe()))
    changed = {"external": (), "second_reference": None, "runs": ()}
    changed[given] = other if given == "second_reference" else (other,)
    with pytest.raises(ClimSimError, match="found other hyam, hybm"):
        evaluate_online(replace(config, **changed))


def test_one_grid_may_be_written_in_other_ways(config, tmp_path):
    grid = make_globe()
    rounded = {name: getattr(grid, name).astype("f4") for name in ("lat", "hyai", "hybi", "hybm")}
    west = np.where(grid.lon > 180, grid.lon - 360, grid.lon)
    areas = grid.area * (1 + 0.01 * np.sin(grid.lat))
    same = replace(grid, lon=west, area=areas, **rounded)
    other = write_run(tmp_path / "other", days=3, grid=same)
    metrics = metrics_of(replace(config, runs=(), second_reference=None, external=(other,)))
    assert not json.loads(metrics.attrs["problems"])["other"]


def test_every_online_metric_has_units(metrics):
    for name in PROFILES:
        assert metrics[f"growth_daily_{name}"].attrs["units"] == PROFILES[name][0]
    for name, array in metrics.items():
        assert array.attrs.get("long_name"), name


def test_precipitation_histogram_of_a_hand_worked_field():
    rate = np.array([0.0, 5.0, 50.0, 2000.0]) / 8.64e7
    area = np.array([4.0, 3.0, 2.0, 1.0])
    surfaces = np.array([[1, 1, 1, 1], [0, 1, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]], dtype=bool)
    counts = PrecipitationCounts.of(rate, area, surfaces, surfaces * area)
    frequency = counts.frequency()
    np.testing.assert_allclose(frequency[0][[0, -1]], [0.4, 0.1])
    at_50 = np.searchsorted(EDGES, 50.0 * 1.0000001) - 1
    assert frequency[1][at_50] == pytest.approx(0.4)
    assert np.isnan(frequency[3]).all()
    assert counts.largest[:2] == pytest.approx([2000.0, 50.0])


def test_precipitation_quantiles_agree_with_numpy_within_a_bin():
    rng = np.random.default_rng(1)
    rate = rng.lognormal(0, 1.5, 200_000)
    surfaces = np.ones((4, 100), dtype=bool)
    counts = PrecipitationCounts.zero()
    for part in rate.reshape(-1, 100):
        rain, area = part / 8.64e7, np.ones(100)
        counts = counts + PrecipitationCounts.of(rain, area, surfaces, surfaces * area)
    found = counts.quantiles()[0]
    np.testing.assert_allclose(found, np.quantile(rate, [0.5, 0.9, 0.99, 0.999, 0.9999]), rtol=0.1)


def test_zonal_mean_weights_columns_by_area_and_leaves_empty_bins_undefined():
    lat, area = np.array([1.0, 9.0, 90.0]), np.array([3.0, 1.0, 2.0])
    found = zonal_mean(np.array([0.0, 4.0, 7.0]), lat, area)
    assert found[9] == pytest.approx(1.0)
    assert found[-1] == 7.0
    assert np.isnan(found).sum() == N_BINS - 2


def test_bands_share_no_column_and_hold_the_pole():
    members = band_members(np.array([-90.0, -30, 0, 30, 90]), {"s": (-90, -30), "n": (30, 90)})
    assert members.tolist() == [[True, False, False, False, False], [False] * 3 + [True] * 2]


def test_runs_that_end_early_without_failing_leave_the_count():
    member = Member("unet", "v6", 7)
    outcomes = [
        (member, Outcome("unstable", 2.0, 9.0, 1.0)),
        (replace(member, seed=43), Outcome("running", 4.0, 9.0, 1.0)),
        (replace(member, seed=8), Outcome("complete", 9.0, 9.0, 1.0)),
    ]
    groups, fraction = alive_fraction(outcomes, np.array([0.0, 2.0, 4.0, 9.0]))
    assert groups == [("unet", "v6")]
    np.testing.assert_allclose(fraction[0], [1.0, 2 / 3, 2 / 3, 1 / 2])


def test_member_is_named_by_metadata_before_the_file_name():
    training = TrainingCard("unet", "v6", 43)
    assert member_of("whatever", training) == Member("unet", "v6", 43)
    ensemble = ModelCard(training=training, members=(training, replace(training, seed=7)))
    assert member_of_model(ensemble, "whatever") == Member("unet", "v6", -1)
    assert member_of("unet-v6-7", TrainingCard(recipe="standard")).label == "unet-standard-7"
    assert member_of("pao_model-conf_loss-7").label == "pao_model-conf_loss-7"
    assert member_of("hybrid") == Member("hybrid", "", -1)


def test_nothing_to_compare_with_the_reference_is_refused(tmp_path):
    with pytest.raises(ClimSimError, match="runs: expected folders of runs, found none"):
        OnlineConfig((), tmp_path / "mmf1", tmp_path / "online.nc")
    assert OnlineConfig((), tmp_path / "mmf1", tmp_path / "online.nc", tmp_path / "mmf2")
