"""History files that are not as they should be: each costs its own period and is named."""

import json
import shutil
import zipfile
from dataclasses import asdict

import numpy as np
import pytest
import xarray

from climsim.cards import ModelCard, TrainingCard
from climsim.errors import ClimSimError
from climsim.evaluation.config import OnlineConfig
from climsim.evaluation.history import RunHistory
from climsim.evaluation.history_file import RecentMeans
from climsim.evaluation.members import Member
from climsim.evaluation.online import evaluate_online
from tests.evaluation_synthetic import write_run
from tests.grids import make_grid

NAME = "unet-standard-7"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    grid = make_grid(9, 5)
    write_run(root / "mmf1", days=3, grid=grid)
    write_run(root / NAME, days=3, seed=2, growing=1.0, grid=grid)
    return root


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of the run, to be damaged."""
    return shutil.copytree(whole / NAME, tmp_path / NAME)


def evaluate(whole, folder, reference=None):
    out = folder.parent / "online.nc"
    evaluate_online(OnlineConfig((folder,), reference or whole / "mmf1", out))
    with xarray.open_dataset(out) as dataset:
        loaded = dataset.load()
    return loaded, json.loads(loaded.attrs["problems"])


def day_file(folder, day):
    return sorted(folder.glob("*.h1.*.nc"))[day]


def days_compared(metrics):
    return np.isfinite(metrics["growth_daily_T"].sel(run=NAME)).values.tolist()


def rewrite(path, change):
    """Replace a file by a changed copy of its dataset."""
    with xarray.open_dataset(path, decode_times=False) as dataset:
        changed = change(dataset.load())
    path.unlink()
    changed.to_netcdf(path, unlimited_dims=["time"])


def with_zeroth_step(dataset):
    """As CAM writes its averaged streams: first the state at the start, of no length."""
    zeroth = dataset.isel(time=[0]).copy(deep=True)
    start = dataset["time_bnds"].values[0, 0]
    zeroth["time_bnds"][:] = start
    zeroth["time"] = ("time", [start], dataset["time"].attrs)
    for name in ("T", "PRECT"):
        if name in zeroth:
            zeroth[name][:] = 0.0
    return xarray.concat([zeroth, dataset], "time", data_vars="minimal")


def test_zeroth_step_counts_in_no_measure_and_is_named(whole, folder, tmp_path):
    reference = shutil.copytree(whole / "mmf1", tmp_path / "mmf1")
    expected, _ = evaluate(whole, folder)
    for run in (folder, reference):
        for stream in ("h1", "h2"):
            rewrite(sorted(run.glob(f"*.{stream}.*.nc"))[0], with_zeroth_step)
    metrics, problems = evaluate(whole, folder, reference)
    assert metrics["day"].values.tolist() == [1, 2, 3]
    for name in ("growth_daily_T", "precipitation_frequency", "rmse_mean_T", "mean_days"):
        xarray.testing.assert_equal(metrics[name], expected[name])
    for run in (NAME, "reference"):
        assert sum("1 record of zero length; left out" in p for p in problems[run]) == 2


def without_records(dataset):
    return dataset.isel(time=slice(0))


def without_units(dataset):
    del dataset["time"].attrs["units"]
    return dataset


def of_other_calendar(dataset):
    dataset["time"].attrs["calendar"] = "360_day"
    return dataset


def on_29_february(dataset):
    dataset["time"].attrs |= {"calendar": "standard", "units": "days since 2024-02-29"}
    dataset["time_bnds"][:] = [[0.0, 0.5]]
    return dataset


def without_a_time(dataset):
    dataset["time_bnds"][:] = np.nan
    return dataset


def with_surface_temperature(dataset):
    dataset["T"] = dataset["T"].isel(lev=-1)
    return dataset


ODD = {
    without_records: "no record",
    without_units: "time has no units",
    of_other_calendar: "calendar 360_day, expected noleap",
    on_29_february: "1 record at a date that the calendar noleap lacks",
    without_a_time: "1 record without a time",
    with_surface_temperature: "T of shape (9,), expected (5, 9)",
    lambda d: d.drop_vars("time_bnds"): "no time_bnds or time_bounds",
    lambda d: d.isel(lev=slice(4)): "4 levels, 9 columns, expected 5 levels, 9 columns",
    lambda d: d.rename(ncol="cell"): "no dimension ncol",
    lambda d: d.drop_vars(["time", "time_bnds"]): "no variable time",
}


@pytest.mark.parametrize(("change", "words"), ODD.items(), ids=[*ODD.values()])
def test_odd_file_costs_its_own_day_and_is_named(whole, folder, change, words):
    path = day_file(folder, 0)
    rewrite(path, change)
    metrics, problems = evaluate(whole, folder)
    assert days_compared(metrics) == [False, True, True]
    (problem,) = problems[NAME]
    assert problem.startswith(f"{path.name}: {words}")
    assert problem.endswith("; left out")


@pytest.mark.parametrize("content", [b"", b"no netCDF at all"])
def test_file_that_is_no_netcdf_costs_its_own_day(whole, folder, content):
    path = day_file(folder, 1)
    path.write_bytes(content)
    metrics, problems = evaluate(whole, folder)
    assert days_compared(metrics) == [True, False, True]
    assert problems[NAME][0].startswith(f"{path.name}: cannot be read")


def test_odd_file_of_the_reference_costs_its_own_day(whole, folder, tmp_path):
    reference = shutil.copytree(whole / "mmf1", tmp_path / "mmf1")
    rewrite(day_file(reference, 0), lambda d: d.isel(lev=slice(4)))
    metrics, problems = evaluate(whole, folder, reference)
    assert days_compared(metrics) == [True, True]
    assert "4 levels" in problems["reference"][0]


def test_files_of_another_run_in_the_folder_are_named_and_not_mixed_in(whole, folder):
    for path in sorted(folder.glob("*.h1.*.nc"))[1:]:
        path.unlink()
    expected, _ = evaluate(whole, folder)
    (folder / "record.json").write_text(json.dumps({"case": NAME, "status": "complete"}))
    for path in (whole / "mmf1").glob("*.h1.*.nc"):
        shutil.copy(path, folder / path.name.replace("mmf1", "another"))
    metrics, problems = evaluate(whole, folder)
    xarray.testing.assert_equal(metrics["growth_daily_T"], expected["growth_daily_T"])
    assert problems[NAME] == [
        f"another.eam.*.nc: files of another run than {NAME}; left out",
    ]


def test_files_of_several_runs_of_which_none_is_meant_are_refused(whole, tmp_path):
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for name in ("mmf1", NAME):
        for path in (whole / name).glob("*.h1.*.nc"):
            shutil.copy(path, mixed)
    with pytest.raises(ClimSimError, match=rf"mixed: expected .* of one run, .* mmf1, {NAME}: "):
        RunHistory.open(mixed)


def test_files_that_do_not_describe_their_grid_are_taken_to_lie_on_the_reference(whole, folder):
    for path in folder.glob("*.nc"):
        rewrite(path, lambda d: d.drop_vars(["hyam", "lat"]))
    metrics, problems = evaluate(whole, folder)
    assert days_compared(metrics) == [True, True, True]
    assert "no lat, hyam" in problems[NAME][0]


def test_what_files_say_of_their_grid_is_compared_though_it_is_not_all(whole, folder):
    for path in folder.glob("*.nc"):
        rewrite(path, lambda d: d.drop_vars(["hyam", "lat"]).assign(hybi=d["hybi"] ** 2))
    with pytest.raises(ClimSimError, match=rf"{NAME}: .*mmf1, found other hybi: compare runs"):
        evaluate(whole, folder)


@pytest.mark.parametrize("text", ["{", "[1]", "", '{"days": "three", "made_by": 5, "sypd": []}'])
def test_damaged_record_costs_status_and_speed_only(whole, folder, text):
    (folder / "record.json").write_text(text)
    metrics, problems = evaluate(whole, folder)
    row = metrics.sel(run=NAME)
    assert days_compared(metrics) == [True, True, True]
    assert (str(row["status"].values), float(row["days"])) == ("unknown", 3.0)
    assert problems[NAME][0].startswith("record.json: ")


def test_rain_comes_from_the_finest_stream_that_holds_it(whole, folder, tmp_path):
    reference = shutil.copytree(whole / "mmf1", tmp_path / "mmf1")
    for run in (folder, reference):
        for path in run.glob("*.h2.*.nc"):
            rewrite(path, lambda d: d.drop_vars("PRECT"))
    metrics, _ = evaluate(whole, folder, reference)
    assert metrics.attrs["precipitation_stream"] == "h1"
    assert float(metrics["precipitation_frequency"][0, 0].sum()) == pytest.approx(1.0)


def test_run_without_rain_says_that_it_has_no_distribution(whole, folder):
    for path in folder.glob("*.h2.*.nc"):
        rewrite(path, lambda d: d.drop_vars("PRECT"))
    metrics, problems = evaluate(whole, folder)
    assert np.isnan(metrics["precipitation_frequency"].sel(run=NAME)).all()
    assert "no PRECT of h2 in common" in problems[NAME][0]


def test_field_of_some_files_is_averaged_over_those_and_named(whole, folder, tmp_path):
    rewrite(day_file(folder, 0), lambda d: d.drop_vars("FLUT"))
    metrics, problems = evaluate(whole, folder)
    with_it = [day_file(folder, day) for day in (1, 2)]
    expected = np.mean([xarray.open_dataset(p, decode_times=False)["FLUT"][0] for p in with_it], 0)
    np.testing.assert_allclose(metrics["map_FLUT"].sel(run=NAME), expected, rtol=1e-6)
    assert problems[NAME] == ["FLUT: only in 2 of 3 days of the time mean"]


def test_run_that_is_given_twice_is_refused(whole, folder):
    again = folder / ".." / folder.name
    with pytest.raises(ClimSimError, match=r"runs=.*: expected another place than runs="):
        OnlineConfig((folder, again), whole / "mmf1", folder / "online.nc")


def test_folder_without_a_usable_file_says_why(folder):
    for path in folder.glob("*.nc"):
        rewrite(path, without_units)
    with pytest.raises(ClimSimError, match=r"no readable history file.*time has no units"):
        RunHistory.open(folder)


def test_means_kept_in_memory_are_the_latest_that_fit():
    kept, read = RecentMeans(3 * 80), []

    def get(number):
        def fields():
            read.append(number)
            return {"T": np.full(10, float(number))}

        return float(kept.get((number,), fields)["T"][0])

    assert [get(n) for n in (0, 1, 2, 0, 3, 0, 1)] == [0, 1, 2, 0, 3, 0, 1]
    # 1 was asked for longest ago when 3 came, so that it alone is read twice.
    assert read == [0, 1, 2, 3, 1]
    assert RecentMeans(10).get((0,), lambda: {"T": np.ones(10)})["T"].size == 10


UNET = TrainingCard("unet", "standard", 7)
MEAN = ModelCard(training=UNET, members=(UNET, TrainingCard("unet", "standard", 43)))


@pytest.mark.parametrize(
    ("folder", "file", "recorded", "card", "expected"),
    [
        # As `online ensemble` names folders: case, file and seed of the perturbation.
        ("unet-unet_7-1", "unet_7", UNET, None, Member("unet", "standard", 7)),
        ("unet-unet_7-1", "unet_7", UNET, ModelCard(), Member("unet", "standard", 7)),
        ("unet-unet_7-1", "unet_7", None, ModelCard(training=UNET), Member("unet", "standard", 7)),
        ("unet-unet_7-1", "unet_7", None, MEAN, Member("unet", "standard", -1)),
        ("unet-unet_7-1", "unet_7", TrainingCard(), None, Member("unet_7", "", -1)),
        ("hc-restart-02", "unet_7", None, None, Member("unet_7", "", -1)),
        # Of a study of an earlier version, whose models were moved away.
        ("unet-steady_visited2-7",) * 2 + (None, None, Member("unet", "steady_visited2", 7)),
        # By hand, under a name of the published study.
        ("unet-standard-7", "model", None, None, Member("unet", "standard", 7)),
    ],
)
def test_run_is_named_by_what_its_model_says_not_by_its_folder(
    tmp_path, folder, file, recorded, card, expected
):
    record = {"model": str(tmp_path / f"{file}.pt")}
    if recorded is not None:
        record["training"] = asdict(recorded)
    if card is not None:
        with zipfile.ZipFile(record["model"], "w") as archive:
            archive.writestr("m/extra/metadata.json", json.dumps(card.to_json()))
    assert RunHistory(tmp_path / folder, record).member == expected


def test_run_without_a_record_is_named_by_its_folder(tmp_path):
    assert RunHistory(tmp_path / NAME, {}).member == Member("unet", "standard", 7)
