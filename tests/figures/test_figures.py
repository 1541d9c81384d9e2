"""Figures of frozen synthetic metrics: all are drawn, look as before, and say what they lack."""

import contextlib
import gc
import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray
from matplotlib.lines import Line2D
from matplotlib.testing.compare import compare_images

from climsim.errors import ClimSimError
from climsim.evaluation.members import NETWORKS, RECIPES, Member
from climsim.figures import draw as drawing
from climsim.figures import plots
from climsim.figures.config import FiguresConfig
from climsim.figures.draw import draw_figures, entries_of, heading, shown_part
from climsim.figures.panels import legend_below, panel_grid, title_panel
from climsim.figures.registry import figure_table
from climsim.figures.remarks import all_unstable
from climsim.figures.style import (
    EXTERNAL_COLOUR,
    NETWORK_STYLES,
    OTHER_DASHES,
    RECIPE_DASHES,
    styled,
)
from climsim.netcdf import write_netcdf
from climsim.notation import written
from climsim.results.labels import label_of
from climsim.results.quantities import FIELD_PAIRS
from climsim.results.seeds import groups_of, over_seeds
from climsim.results.selection import best_members
from climsim.results.study import NothingToDrawError, Study
from climsim.results.time_axis import DAYS, MONTHS, time_axis
from tests.evaluation_synthetic import short_runs, trained_again, write_study

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
    if name == "iterations" and study.online is not None:
        study = replace(study, online=trained_again(study.online))
    if name == "ranking" and study.offline is not None:
        columns = (study.offline[key].values.tolist() for key in ("network", "recipe", "seed"))
        members = [Member(*names) for names in zip(*columns, strict=True)]
        study = replace(study, hindcasts=short_runs(members))
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
def test_figure_of_scores_that_are_no_numbers_is_drawn_or_says_why(study, name):
    scores = {n: a.astype(float) * np.nan for n, a in study.offline.items() if a.dtype.kind == "f"}
    undefined = Study(study.offline.assign(scores), None)
    with contextlib.suppress(NothingToDrawError):
        assert draw(undefined, name).axes


@pytest.mark.parametrize("name", spec_and_variant())
def test_figure_of_an_empty_study_says_what_is_missing(name):
    with pytest.raises(NothingToDrawError, match="given"):
        draw(Study(None, None), name)


def test_drawing_writes_both_formats_and_an_index(files, tmp_path):
    config = FiguresConfig(tmp_path / "f", *files, only=("stability", "offline_profiles"))
    seen = []
    draw_figures(config, lambda done, total: seen.append((done, total)))
    entries = json.loads((tmp_path / "f" / "index.json").read_text())["figures"]
    names = ["offline_profiles-conf_loss", "stability", "stability-by_recipe"]
    assert [e["name"] for e in entries] == names
    assert entries[2]["title"] == f"{entries[1]['title']}, by recipe"
    assert "each network and recipe" in entries[1]["caption"]
    assert "each recipe and network" in entries[2]["caption"]
    assert seen == [(1, 2), (2, 2)]
    for entry in entries:
        assert [Path(f).suffix for f in entry["files"]] == [".png", ".pdf"]
        assert all((tmp_path / "f" / f).stat().st_size > 1000 for f in entry["files"])
        assert "{" not in entry["caption"] + entry["title"]


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({"compare": "networks"}, {"stability", "precipitation_zonal-standard"}),
        ({"compare": "recipes"}, {"stability", "precipitation_zonal-unet"}),
        (
            {},
            {"stability", "stability-by_recipe", "precipitation_zonal-standard"}
            | {"precipitation_zonal-unet-by_recipe"},
        ),
        ({"recipes": ("standard",)}, {"stability", "precipitation_zonal-standard"}),
    ],
)
def test_runs_are_compared_by_network_and_by_recipe(study, chosen, names, monkeypatch):
    monkeypatch.setattr(drawing, "_save", lambda figure, name, kind, config: f"{name}.{kind}")
    config = FiguresConfig(Path("f"), (Path("x"),), networks=("unet",), **chosen)
    shown = shown_part(study, config)
    table = [figure_table()[name] for name in ("stability", "precipitation_zonal")]
    found = {entry["name"] for spec in table for entry in entries_of(spec, shown, config)}
    assert {name.replace("-conf_loss", "-standard") for name in found} == names


@pytest.mark.parametrize(
    "name", ["precipitation_distribution", "precipitation_surfaces", "precipitation_zonal"]
)
def test_a_legend_names_what_its_figure_shows_and_nothing_else(study, name):
    online, spec = study.online, figure_table()[name]
    kept = (online["network"] != "pure_resLSTM") | (online["recipe"] != "conf_loss")
    uneven = replace(study, online=online.isel(run=kept.values))
    shown = []
    for recipe in ("standard", "conf_loss"):
        with styled():
            legend = spec.draw(uneven, recipe).legends[0]
        shown.append([text.get_text() for text in legend.get_texts()])
    assert shown[0][:2] == ["U-Net", "ResLSTM"]
    assert shown[1] == [label for label in shown[0] if label != "ResLSTM"]


def test_offline_bias_has_a_row_for_each_seed_where_lines_do(study):
    means = draw(study, "offline_bias")
    every = draw(replace(study, seed_lines=True), "offline_bias")
    labels = [ax.get_ylabel().split("\n")[0] for ax in every.axes if "pressure" in ax.get_ylabel()]
    assert labels == ["U-Net, 7", "U-Net, 43", "ResLSTM, 7", "ResLSTM, 43"]
    assert sum("pressure" in ax.get_ylabel() for ax in means.axes) == 2


def test_r2_of_other_studies_is_drawn_beside_the_members(study, tmp_path):
    levels = study.offline.sizes["level"]
    table = tmp_path / "hu2025.csv"
    rows = [f"ptend_t,{k},{0.9 - 0.1 * k}" for k in reversed(range(levels))]
    table.write_text("\n".join(["output,level,r2", *rows, "cam_out_PRECC,,0.7"]))
    figure = draw(study.beside([table]), "offline_profiles")
    grey = [x for ax in figure.axes for x in ax.lines if x.get_color() == EXTERNAL_COLOUR]
    np.testing.assert_allclose(grey[0].get_xdata(), np.maximum(0.9 - 0.1 * np.arange(levels), 0))
    assert list(grey[1].get_ydata()) == [0.7, 0.7]
    assert figure.legends[0].get_texts()[-1].get_text() == "hu2025"
    table.write_text("output,level,r2\nptend_t,0,0.5")
    with pytest.raises(ClimSimError, match=r"hu2025\.csv: expected outputs such as"):
        study.beside([table])
    table.write_text("name,r2\n")
    with pytest.raises(ClimSimError, match="CSV file with the columns output, level, r2"):
        study.beside([table])


def test_resolution_gives_the_size_of_the_pictures(files, tmp_path):
    widths = {}
    for dpi in (50, 100):
        config = FiguresConfig(tmp_path, *files, only=("stability",), formats=("png",), dpi=dpi)
        draw_figures(config)
        widths[dpi] = plt.imread(tmp_path / "stability.png").shape[1]
    assert widths[100] == pytest.approx(2 * widths[50], abs=2)
    with pytest.raises(ClimSimError, match="dpi: expected a whole number >= 1, found 0"):
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


def without_recipes(study):
    """The study with models that have no recipe, under their networks and seeds."""
    offline = study.offline.assign_coords(recipe=("member", [""] * study.offline.sizes["member"]))
    runs = study.online["network"].size
    return Study(offline, study.online.assign_coords(recipe=("run", [""] * runs)))


def test_titles_and_legends_of_models_without_a_recipe_leave_nothing_unnamed(study):
    bare = without_recipes(study)
    for name in ("offline_profiles", "offline_sections", "rmse_growth_all", "precipitation_zonal"):
        spec = figure_table()[name]
        assert spec.variants(bare) == ("",)
        assert heading(spec, bare, "") == spec.title
        assert not spec.title.endswith((":", ",", " "))
    figure = draw(bare, "offline_profiles")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["U-Net", "ResLSTM"]
    bar = next(ax for ax in draw(bare, "offline_sections").axes if ax.get_label() == "<colorbar>")
    assert bar.get_ylabel() == "R$^2$"


def test_models_without_a_recipe_beside_others_are_called_so(study):
    recipes = study.offline["recipe"].values.astype(object)
    recipes[recipes == "conf_loss"] = ""
    mixed = Study(study.offline.assign_coords(recipe=("member", recipes.astype(str))), None)
    spec = figure_table()["offline_sections"]
    assert [heading(spec, mixed, v) for v in spec.variants(mixed)] == [
        "Where the offline skill lies: standard",
        "Where the offline skill lies: no recipe",
    ]
    labels = [t.get_text() for t in draw(mixed, "offline_profiles").legends[0].get_texts()]
    assert labels[-2:] == ["standard", "no recipe"]
    dashes = {str(RECIPE_DASHES[r]) for r in RECIPES}
    assert str(OTHER_DASHES) not in dashes


def test_full_physics_without_a_name_is_called_reference(study):
    names = {"MMF1": "reference", "MMF2": "reference_perturbed"}
    online = study.online.assign_coords(
        network=("run", [names.get(n, n) for n in study.online["network"].values])
    )
    unnamed, table = replace(study, online=online), figure_table()
    for name in ("rmse_growth", "regional_series", "rmse_profiles", "precipitation_map"):
        figure, spec = draw(unnamed, name), table[name]
        shown = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        shown += [ax.get_title(loc="left") for ax in figure.axes]
        shown += [spec.caption, *spec.remarks(unnamed, (spec.variants(unnamed) or ("",))[-1])]
        assert not any("MMF" in text for text in shown)
        assert any(text.startswith(("reference", "(a) reference")) for text in shown)


@pytest.mark.parametrize(("panels", "columns"), [(9, 3), (4, 2), (1, 1)])
def test_long_titles_end_before_the_next_panel(panels, columns):
    name = "Squeezeformer-of-somebody, multirepresentation, seed 1024 minus MMF1"
    with styled():
        figure, axes = panel_grid(panels, columns, 2.0, width=7.2)
        for i, ax in enumerate(axes):
            title_panel(ax, f"T\n{name}", i)
        figure.canvas.draw()
    boxes = [ax._left_title.get_window_extent() for ax in axes]
    for i, box in enumerate(boxes):
        last = i % columns == columns - 1 or i == panels - 1
        assert box.x1 <= (figure.bbox.width if last else boxes[i + 1].x0)
        assert axes[i].get_title(loc="left").replace("\n", " ").endswith(name)


def with_deaths(study):
    """The first run died before its first whole period, the second one of growing errors."""
    online = study.online.isel(month=slice(0, 2)).copy(deep=True)
    online["status"] = online["status"].astype(object)
    online["status"][:2] = "unstable"
    online["days"][0], online["mean_days"][0] = 0.2, 0.0
    means = ("rmse", "zonal", "map", "precip")
    for name, values in online.items():
        if "run" in values.dims and ("day" in values.dims or name.startswith(means)):
            online[name][0] = np.nan
    online["growth_daily_T"][1, -1] *= 100.0
    return Study(study.offline, online)


def test_panels_of_growth_end_with_the_longest_run_whichever_is_drawn_first(study):
    single = study.online["seed"].isin([7, -1]).values
    online = study.online.isel(run=single).copy(deep=True)
    short = online["recipe"].isin(["standard", ""])
    for name in FIELD_PAIRS["state"]:
        key = MONTHS.growth(name).key
        online[key] = online[key].where(~short | (online["month"] < 70))
    with styled():
        figure = figure_table()["rmse_growth"].draw(replace(study, online=online), "state")
    last = max(line.get_xdata().max() for ax in figure.axes for line in ax.lines)
    assert last == online.sizes["month"]
    assert all(ax.get_xlim()[1] >= last for ax in figure.axes)
    assert all(ax.get_xlim()[0] == 0 for ax in figure.axes)


def test_growth_marks_what_leaves_the_panel_and_who_died_before_the_first_day(study):
    dead = replace(with_deaths(study), seed_lines=True)
    with styled():
        figure = figure_table()["rmse_growth"].draw(dead, "state")
    ax = figure.axes[0]
    arrow = next(x for x in ax.lines if x.get_marker() == "^" and len(x.get_xydata()) == 1)
    crosses = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == "x"]
    assert [0.2, 0.0] in crosses
    assert max(y for _, y in crosses) <= ax.get_ylim()[1]
    largest = float(dead.online["growth_daily_T"][1].max())
    assert [text.get_text() for text in ax.texts] == [written(largest, 2)]
    assert arrow.get_ydata()[0] == pytest.approx(ax.get_ylim()[1])
    caption = " ".join(figure_table()["rmse_growth"].remarks(dead, ""))
    assert "An arrow" in caption
    assert "A cross on the axis, for want of a whole day: U-Net, standard, seed 7" in caption
    assert "(unstable after 0.2 days)" in caption


def test_region_shows_the_range_over_seeds_and_the_seed_of_median_distance_from_the_reference(
    study,
):
    ax = draw(study, "regional_series").axes[0]
    key, factor = "series_monthly_cloud_path_deviation", 1e3
    chosen = (study.online["network"] == "unet") & (study.online["recipe"] == "standard")
    series = study.online[key].sel(region="global") * factor
    seeds, truth = (
        series.isel(run=chosen.values).values,
        study.reference()[key].sel(region="global"),
    )
    distance = np.nanmean(np.abs(seeds - truth.values * factor), axis=1)
    median = seeds[np.nanargmin(np.abs(distance - np.nanmedian(distance)))]
    colour = NETWORK_STYLES["unet"].colour
    (line,) = [line for line in ax.lines if line.get_color() == colour]
    np.testing.assert_allclose(line.get_ydata(), median)
    edges = [band.get_paths()[0].vertices[:, 1] for band in ax.collections]
    assert any(np.isclose(y.max(), np.nanmax(seeds)) for y in edges)
    every = draw(replace(study, seed_lines=True), "regional_series").axes[0]
    assert (
        sum(line.get_color() == colour and len(line.get_xdata()) > 1 for line in every.lines) == 2
    )


def test_captions_name_only_what_is_drawn(study):
    table = figure_table()
    whole = replace(
        study, online=study.online.isel(run=study.online["status"].values != "unstable")
    )
    alone = replace(whole, online=whole.online.isel(run=whole.online["role"].values != "floor"))
    for name in ("rmse_growth", "regional_series", "precipitation_zonal", "rmse_profiles"):
        spec = table[name]
        variant = spec.variants(alone)[-1]
        shown_text = " ".join([spec.caption, *spec.remarks(alone, variant)])
        assert "MMF2" not in shown_text
        assert "cross" not in shown_text
        assert "As the figure before" not in shown_text
    assert "Dashed" not in " ".join(table["online_confidence"].remarks(alone, ""))
    assert "MMF2" in " ".join(table["regional_series"].remarks(study, "TMQ"))
    with_true = study.online.copy()
    with_true["confidence_monthly_DTPHYSLOSS"] = with_true["confidence_monthly_DTPHYSCONF"]
    true = replace(study, online=with_true)
    assert "Dashed: the true loss" in " ".join(table["online_confidence"].remarks(true, ""))


OFFLINE = [name for name in figure_table() if name.startswith(("offline", "confidence"))]


@pytest.mark.parametrize("name", OFFLINE)
def test_caption_names_the_split_and_whose_scores_are_undefined_in_part(study, name):
    offline = study.offline.assign_attrs(split="validation").copy(deep=True)
    lost = int(np.flatnonzero(offline["member"].values == "unet-conf_loss-43")[0])
    offline["rmse_ptend_t"][lost, 5] = np.nan
    spec = figure_table()[name]
    assert "split" not in spec.caption
    found = spec.remarks(Study(offline, None), "conf_loss")
    assert found[:2] == [
        "Scored on the validation split.",
        "Undefined where a prediction was no finite number: U-Net, confidence loss, seed 43.",
    ]
    assert spec.remarks(study, "conf_loss")[0] == "Scored on the test split."
    assert "Undefined" not in " ".join(spec.remarks(study, "conf_loss"))


def test_seed_that_failed_everywhere_leaves_the_sections_of_its_network_grey(study):
    offline = study.offline.copy(deep=True)
    lost = (offline["network"] == "unet") & (offline["recipe"] == "standard")
    row = int(np.flatnonzero(lost)[0])
    for name in (n for n in offline.data_vars if str(n).endswith("_ptend_t")):
        offline[name][row] = np.nan
    broken = Study(offline, None)
    for name in ("offline_sections", "offline_bias"):
        with styled():
            figure = figure_table()[name].draw(broken, "standard")
        panels = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
        grey = [bool(np.ma.getmaskarray(ax.collections[0].get_array()).all()) for ax in panels]
        assert grey == [True] + [False] * (len(panels) - 1)


def test_axis_of_the_true_loss_ends_where_the_predicted_losses_do(study):
    offline = study.offline.copy(deep=True)
    known = int(np.flatnonzero(offline["confidence_true"].notnull().any(["target", "loss_bin"]))[0])
    values = offline["confidence_true"].transpose("member", "target", "loss_bin", ...).values
    target = offline["target"].values.tolist().index("ptend_t")
    first = int(np.flatnonzero(np.isfinite(values[known, target]))[0])
    offline["confidence_true"] = offline["confidence_true"].transpose(
        "member", "target", "loss_bin"
    )
    offline["confidence_true"][known, target, first] = 1e-42
    found = Study(offline, None)
    figure = draw(found, "confidence")
    figure.canvas.draw()
    assert figure.axes[0].get_ylim() == figure.axes[0].get_xlim()
    assert figure.axes[0].get_ylim()[0] > 1e-12
    assert "v" in [line.get_marker() for line in figure.axes[0].lines]
    assert "smaller than the axis shows" in " ".join(
        figure_table()["confidence"].remarks(found, "")
    )


def test_iterations_have_a_line_each_of_the_mean_over_the_seeds_alive(study):
    online = trained_again(study.online)
    # The second seed of iteration 1 died half-way.
    chosen = (online["network"] == "unet") & (online["recipe"] == "standard_visited1")
    rows = np.flatnonzero(chosen.values)
    online["growth_monthly_T"][rows[1], 2:] = np.nan
    seeds = online["growth_monthly_T"].values[rows]
    again, spec = replace(study, online=online), figure_table()["iterations"]
    assert spec.variants(study) == ()
    assert spec.variants(again) == ("pure_resLSTM-standard", "unet-standard")
    assert spec.label("unet-standard") == "U-Net, standard"
    with styled():
        error, water, rough, survival = spec.draw(again, "unet-standard").axes
    before, after, floor = error.lines
    np.testing.assert_allclose(after.get_ydata()[:2], seeds[:, :2].mean(axis=0))
    np.testing.assert_allclose(after.get_ydata()[2:], seeds[0, 2:])
    assert before.get_color() != after.get_color()
    np.testing.assert_allclose(floor.get_ydata(), again.floor()["growth_monthly_T"])
    assert len(water.lines) == len(rough.lines) == 4
    assert survival.get_ylabel() == "fraction of seeds alive"
    text = " ".join(spec.remarks(again, "unet-standard"))
    assert "shading their range" in text
    assert "MMF2" in text


def test_cost_draws_unstable_runs_hollow_and_says_so(study):
    figure = draw(study, "cost")
    hollow = [p for p in figure.axes[0].collections if not p.get_facecolor().size]
    assert len(hollow) == 1
    assert "unstable, or shorter mean" in [t.get_text() for t in figure.legends[0].get_texts()]
    assert "Hollow" in " ".join(figure_table()["cost"].remarks(study, ""))


def test_best_members_stayed_stable_where_any_did(study):
    online = study.online.copy(deep=True)
    online["status"] = online["status"].astype(object)
    best = str(best_members(study, "T", 1)["run"].values[0])
    online["status"][online["run"].values.tolist().index(best)] = "unstable"
    assert best not in best_members(Study(None, online), "T", 99)["run"].values
    online["status"][:] = "unstable"
    lost = best_members(Study(None, online), "T", 1)
    assert label_of(lost.isel(run=0)).endswith("†")
    assert "Every run became unstable" in " ".join(all_unstable(Study(None, online)))


def test_errors_grow_by_days_until_there_are_three_months(study):
    assert time_axis(study) == MONTHS
    short = replace(study, online=study.online.isel(month=slice(0, 2)))
    assert time_axis(short) == DAYS
    without_days = replace(study, online=short.online.drop_dims("day"))
    assert time_axis(without_days) == MONTHS


def test_growth_without_values_of_the_second_run_is_drawn_beside_the_seeds_alone(study):
    online = study.online.copy(deep=True)
    second = int(np.flatnonzero(online["role"].values == "floor")[0])
    for name in online.data_vars:
        if str(name).startswith("growth"):
            online[name][second] = np.nan
    spec, short = figure_table()["rmse_growth"], replace(study, online=online)
    draw(short, "rmse_growth")
    (first, *_) = spec.variants(short)
    text = " ".join(spec.remarks(short, first))
    assert "Without values of a second run with full physics" in text
    assert "in mean distance from" not in text


def test_wrong_files_and_settings_are_refused_in_one_line(files, tmp_path):
    offline, online = files
    with pytest.raises(ClimSimError, match="no such file of metrics"):
        Study.open((tmp_path / "none.nc",), None)
    with pytest.raises(ClimSimError, match="expected metrics with the attribute 'member'"):
        Study.open((online,), None)
    with pytest.raises(ClimSimError, match="given twice"):
        Study.open((offline[0], offline[0]), None)
    (tmp_path / "text.nc").write_text("no netCDF")
    with pytest.raises(ClimSimError, match="not a readable netCDF"):
        Study.open((tmp_path / "text.nc",), None)
    with pytest.raises(ClimSimError, match="unknown figure 'pie'"):
        FiguresConfig(tmp_path, offline, only=("pie",))
    with pytest.raises(ClimSimError, match="formats"):
        FiguresConfig(tmp_path, offline, formats=("gif",))
    with pytest.raises(ClimSimError, match=r"formats: expected different entries, found \['png',"):
        FiguresConfig(tmp_path, offline, formats=("png", "png"))
    with pytest.raises(ClimSimError, match="at least one file"):
        FiguresConfig(tmp_path)


def test_members_of_other_level_counts_are_refused(files, tmp_path):
    with xarray.open_dataset(files[0][0]) as dataset:
        shorter = dataset.isel(level=slice(3)).load()
    shorter.attrs["member"] = "unet-standard-99"
    write_netcdf(shorter, tmp_path / "short.nc", checked=True)
    with pytest.raises(ClimSimError, match="levels"):
        Study.open((files[0][0], tmp_path / "short.nc"), None)


def test_figure_is_let_go_once_its_files_are_written(study, tmp_path):
    spec, drawn = figure_table()["stability"], []

    def draw_and_watch(study, variant):
        figure = spec.draw(study, variant)
        drawn.append(weakref.ref(figure))
        return figure

    config = FiguresConfig(tmp_path, online=tmp_path / "online.nc", formats=("png",), dpi=50)
    gc.disable()
    try:
        entries_of(replace(spec, draw=draw_and_watch), study, config)
    finally:
        gc.enable()
    assert len(drawn) == 2
    assert all(figure() is None for figure in drawn)


@pytest.mark.slow
def test_figures_of_several_processes_are_those_of_one(files, tmp_path):
    drawn = []
    for workers in (1, 2):
        config = FiguresConfig(
            tmp_path / str(workers), *files, only=("cost", "stability"), workers=workers
        )
        folder = draw_figures(config)
        drawn.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert drawn[0].keys() == drawn[1].keys() >= {"cost.png", "stability.pdf"}
    for name in drawn[0].keys() - {"index.json"}:
        assert drawn[0][name] == drawn[1][name], name
    indices = [json.loads(files["index.json"])["figures"] for files in drawn]
    assert indices[0] == indices[1]


@pytest.mark.slow
@pytest.mark.long
def test_whole_study_of_ninety_members_is_drawn(tmp_path):
    offline, online = write_study(tmp_path)
    members = [Member(n, r, s) for r in RECIPES for n in NETWORKS for s in (7, 43, 1024)]
    write_netcdf(short_runs(members, starts=4), tmp_path / "hindcasts.nc")
    files = {"offline": offline, "online": online, "hindcasts": tmp_path / "hindcasts.nc"}
    small = {"formats": ("png",), "dpi": 60}
    draw_figures(FiguresConfig(tmp_path / "figures", **files, **small, compare="networks"))
    entries = json.loads((tmp_path / "figures" / "index.json").read_text())["figures"]
    assert len(entries) >= 25
    # The study has no member that was trained again on visited states.
    assert [e["name"] for e in entries if "missing" in e] == ["iterations"]


def test_figure_of_a_file_is_drawn_beside_those_of_the_package(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "from matplotlib.figure import Figure\n"
        "from climsim.figures.registry import FigureSpec\n"
        "FIGURE = FigureSpec('mine', 0, 'Mine', 'A line.', lambda study, variant: Figure())\n"
        "OTHER = 3\n"
    )
    assert list(figure_table(["stability", f"{path}:FIGURE"])) == ["mine", "stability"]
    with pytest.raises(ClimSimError, match=r"own\.py:OTHER': expected a .*FigureSpec, found int"):
        figure_table([f"{path}:OTHER"])
    assert "mine" not in figure_table()
