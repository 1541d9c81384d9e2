"""The lines that evaluation prints: the scores that the metrics hold, checked before."""

import re

import netCDF4
import numpy as np
import pytest
import xarray

from climsim.errors import ClimSimError
from climsim.evaluation.config import OnlineConfig
from climsim.evaluation.online import evaluate_online
from climsim.evaluation.summary import offline_lines, online_lines
from climsim.netcdf import write_netcdf
from tests.evaluation_synthetic import offline_metrics, write_run
from tests.grids import make_globe


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    path = tmp_path_factory.mktemp("scores") / "offline.nc"
    write_netcdf(offline_metrics(steps=2), path, checked=True)
    return path


@pytest.fixture(scope="module")
def online(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    grid = make_globe(8, 6, 8)
    write_run(folder / "truth", days=2, grid=grid)
    write_run(folder / "second", days=2, seed=1, growing=0.5, grid=grid)
    write_run(folder / "good", days=2, seed=2, growing=0.7, bias=1.0, grid=grid)
    unstable = {"status": "unstable", "days": 1.25, "days_wanted": 2.0}
    write_run(folder / "dead", days=1, seed=3, growing=0.9, grid=grid, record=unstable)
    out = folder / "online.nc"
    config = OnlineConfig(
        runs=(folder / "good", folder / "dead"), reference=folder / "truth",
        second_reference=folder / "second", out=out,
    )  # fmt: skip
    evaluate_online(config)
    return out


def test_offline_lines_give_the_scores_of_the_file(offline):
    with xarray.open_dataset(offline, decode_times=False) as metrics:
        overall, heating = float(metrics["r2_mean"]), float(metrics["r2_mean_ptend_t"])
        left_out = int(metrics["undefined_outputs"])
    first, second = offline_lines(offline)
    note = f" ({left_out} without variance left out)" if left_out else ""
    assert first == f"mean R2 over all outputs: {overall:.3g}{note}"
    assert second.startswith(f"R2: heating {heating:.3g}, moistening ")


def test_online_lines_say_how_runs_ended_and_order_them_by_their_error(online):
    first, second = online_lines(online)
    assert first.startswith("1 of 2 runs reached their end: dead")
    assert first.endswith("unstable on day 1.25")
    with xarray.open_dataset(online, decode_times=False) as metrics:
        runs = metrics["run"].values.astype(str)
        errors = dict(zip(runs, metrics["rmse_mean_T"].values, strict=True))
    assert second.startswith("RMSE of the time mean: T [K] ")
    assert f"good {errors['good']:.3g}" in second
    assert "internal variability" in second
    assert np.isfinite(errors["good"])


def test_lines_of_internal_variability_alone_speak_of_no_runs(online, tmp_path):
    alone = OnlineConfig(
        runs=(), reference=online.parent / "truth", second_reference=online.parent / "second",
        out=tmp_path / "floor.nc",
    )  # fmt: skip
    evaluate_online(alone)
    (line,) = online_lines(alone.out)
    assert re.match(r"RMSE of the time mean: T \[K\] internal variability [0-9.]+; PRECT", line)


@pytest.mark.parametrize("lines", [offline_lines, online_lines])
def test_lines_of_a_file_that_was_edited_are_refused(lines, offline, online, tmp_path):
    source = offline if lines is offline_lines else online
    copy = tmp_path / "metrics.nc"
    copy.write_bytes(source.read_bytes())
    with netCDF4.Dataset(copy, "a") as file:
        name = "r2_mean" if lines is offline_lines else "days"
        file[name][...] = 0.99
    with pytest.raises(ClimSimError, match="damaged or edited"):
        lines(copy)
