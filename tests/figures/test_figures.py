"""Figures of frozen synthetic metrics: all are drawn, look as before, and say what they lack."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray
from matplotlib.lines import Line2D
from matplotlib.testing.compare import compare_images

from climsim.errors import ClimSimError
from climsim.evaluation.members import NETWORKS, RECIPES
from climsim.evaluation.seeds import groups_of, over_seeds
from climsim.figures import plots
from climsim.figures.draw import FiguresConfig, draw_figures
from climsim.figures.growth import time_axis
from climsim.figures.members import best_members
from climsim.figures.panels import legend_below, panel_grid
from climsim.figures.registry import NothingToDrawError, figure_table
from climsim.figures.study import Study
from climsim.figures.style import NETWORK_STYLES, RECIPE_DASHES, styled
from climsim.files import write_netcdf
from evaluation_synthetic import write_study

BASELINE = Path(__file__).parent / "baseline"
TOLERANCE = 5.0
"""Root mean square of the difference in grey values: other fonts pass, another line does not."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return write_study(folder, ("unet", "pure_resLSTM"), ("standard", "conf_loss"), (7, 43))


@pytest.fixture(scope="module")
def study(files):
    return Study.open(*files)


def spec_and_variant():
    """Every figure with the first of its variants that the study has."""
    return list(figure_table())


def draw(study, name):
    spec = figure_table()[name]
    variant = (spec.variants(study) or ("",))[-1]
    with styled():
        return spec.draw(study, variant)


@pytest.mark.parametrize("name", spec_and_variant())
def test_figure_looks_as_before(study, name, tmp_path):
    found = tmp_path / f"{name}.png"
    draw(study, name).savefig(found, dpi=50)
    expected = BASELINE / f"{name}.png"
    if not expected.exists():
        shutil.copy(found, expected)
        pytest.fail(f"there was no picture to compare with: wrote {expected}; look at it")
    shutil.copy(expected, tmp_path / "expected.png")
    difference = compare_images(str(tmp_path / "expected.png"), str(found), TOLERANCE)
    assert difference is None, difference


@pytest.mark.parametrize("name", spec_and_variant())
def test_every_panel_says_what_it_shows(study, name):
    figure = draw(study, name)
    panels = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
    titles = [ax.get_title(loc="left") for ax in panels]
    assert all(titles)
    if len(panels) > 1:
        assert [t[:3] for t in titles[:3]] == ["(a)", "(b)", "(c)"][: len(titles)]
    bars = [ax for ax in figure.axes if ax.get_label() == "<colorbar>"]
    assert all(bar.get_ylabel() or bar.get_xlabel() for bar in bars)


@pytest.mark.parametrize("dpi", [72, 200])
def test_legend_of_long_names_stays_inside_its_figure(dpi):
    names = ["Squeezeformer, multirepresentation, seed 7", "EncDec LSTM, difference loss, seed 7"]
    for count in range(1, 7):
        with styled():
            figure, _ = panel_grid(6, 3, 2.0, width=7.2)
            figure.set_dpi(dpi)
            legend_below(figure, [Line2D([], [], label=names[i % 2]) for i in range(count)], 3)
            figure.canvas.draw()
        assert figure.legends[0].get_window_extent().width <= figure.bbox.width
        assert len(figure.legends) == 1


@pytest.mark.parametrize("name", spec_and_variant())
def test_figure_of_an_empty_study_says_what_is_missing(name):
    with pytest.raises(NothingToDrawError, match="given"):
        draw(Study(None, None), name)


def test_drawing_writes_both_formats_and_an_index(files, tmp_path):
    config = FiguresConfig(tmp_path / "f", *files, only=("stability", "offline_profiles"))
    seen = []
    draw_figures(config, lambda done, total: seen.append((done, total)))
    entries = json.loads((tmp_path / "f" / "index.json").read_text())["figures"]
    assert [e["name"] for e in entries] == ["offline_profiles-conf_loss", "stability"]
    assert seen == [(1, 2), (2, 2)]
    for entry in entries:
        assert [Path(f).suffix for f in entry["files"]] == [".png", ".pdf"]
        assert all((tmp_path / "f" / f).stat().st_size > 1000 for f in entry["files"])
        assert "{" not in entry["caption"] + entry["title"]


def test_resolution_gives_the_size_of_the_pictures(files, tmp_path):
    widths = {}
    for dpi in (50, 100):
        config = FiguresConfig(tmp_path, *files, only=("stability",), formats=("png",), dpi=dpi)
        draw_figures(config)
        widths[dpi] = plt.imread(tmp_path / "stability.png").shape[1]
    assert widths[100] == pytest.approx(2 * widths[50], abs=2)
    with pytest.raises(ClimSimError, match="dpi=0: expected at least 1"):
        FiguresConfig(tmp_path, *files, dpi=0)


def test_figures_of_equal_metrics_are_equal_files(files, tmp_path):
    for name in ("a", "b"):
        draw_figures(FiguresConfig(tmp_path / name, *files, only=("stability",)))
    for kind in ("png", "pdf"):
        first, second = ((tmp_path / n / f"stability.{kind}").read_bytes() for n in ("a", "b"))
        assert first == second


def test_study_without_online_runs_draws_the_offline_figures_only(files, tmp_path):
    config = FiguresConfig(tmp_path, files[0], only=("rmse_growth", "offline_profiles"))
    draw_figures(replace(config, formats=("png",)))
    entries = json.loads((tmp_path / "index.json").read_text())["figures"]
    assert {e["name"]: bool(e["files"]) for e in entries} == {
        "offline_profiles-conf_loss": True,
        "rmse_growth": False,
    }
    assert "was given" in entries[1]["missing"]


def test_each_module_defines_one_figure_of_its_own_name():
    modules = {p.stem for p in Path(plots.__path__[0]).glob("[a-z]*.py")}
    assert modules == set(figure_table())


def test_networks_differ_in_colour_and_in_a_second_cue():
    styles = [NETWORK_STYLES[n] for n in NETWORKS]
    assert len({s.colour for s in styles}) == len({s.marker for s in styles}) == len(NETWORKS)
    assert len({str(RECIPE_DASHES[r]) for r in RECIPES}) == len(RECIPES)


def test_best_members_leave_out_those_that_died_early(study):
    online = study.online.copy(deep=True)
    online["rmse_mean_T"][2] = 1e-6
    online["mean_days"][2] = 1.0
    found = best_members(Study(study.offline, online), "T", 2)
    assert online["run"].values[2] not in found["run"].values
    values = found["rmse_mean_T"].values
    assert values[0] <= values[1]


def test_seed_range_holds_the_mean_and_counts_failures_as_the_floor(study):
    values = study.offline["r2_ptend_t"].copy(deep=True)
    values[0] = -50.0
    group = (str(values["network"].values[0]), str(values["recipe"].values[0]))
    found = over_seeds(values, group, floor=0.0)
    assert found.count == 2
    known = np.isfinite(found.mean)
    assert (found.low <= found.mean).values[known].all()
    assert float(found.low.min()) == 0.0
    assert groups_of(values)[0] == ("unet", "standard")


def test_errors_grow_by_days_until_there_are_three_months(study):
    assert time_axis(study) == ("monthly", "month")
    short = replace(study, online=study.online.isel(month=slice(0, 2)))
    assert time_axis(short) == ("daily", "day")
    without_days = replace(study, online=short.online.drop_dims("day"))
    assert time_axis(without_days) == ("monthly", "month")


def test_wrong_files_and_settings_are_refused_in_one_line(files, tmp_path):
    offline, online = files
    with pytest.raises(ClimSimError, match="no such file of metrics"):
        Study.open((tmp_path / "none.nc",), None)
    with pytest.raises(ClimSimError, match="expected metrics with the attribute 'member'"):
        Study.open((online,), None)
    with pytest.raises(ClimSimError, match="given twice"):
        Study.open((offline[0], offline[0]), None)
    (tmp_path / "text.nc").write_text("no netCDF")
    with pytest.raises(ClimSimError, match="no readable netCDF"):
        Study.open((tmp_path / "text.nc",), None)
    with pytest.raises(ClimSimError, match="unknown figure 'pie'"):
        FiguresConfig(tmp_path, offline, only=("pie",))
    with pytest.raises(ClimSimError, match="formats"):
        FiguresConfig(tmp_path, offline, formats=("gif",))
    with pytest.raises(ClimSimError, match="at least one file"):
        FiguresConfig(tmp_path)


def test_members_of_other_level_counts_are_refused(files, tmp_path):
    with xarray.open_dataset(files[0][0]) as dataset:
        shorter = dataset.isel(level=slice(3)).load()
    shorter.attrs["member"] = "unet-standard-99"
    write_netcdf(shorter, tmp_path / "short.nc", checked=True)
    with pytest.raises(ClimSimError, match="levels"):
        Study.open((files[0][0], tmp_path / "short.nc"), None)


@pytest.mark.slow
def test_whole_study_of_ninety_members_is_drawn(tmp_path):
    config = FiguresConfig(tmp_path / "figures", *write_study(tmp_path))
    draw_figures(config)
    entries = json.loads((tmp_path / "figures" / "index.json").read_text())["figures"]
    assert len(entries) >= 25
    assert not [e["missing"] for e in entries if "missing" in e]
