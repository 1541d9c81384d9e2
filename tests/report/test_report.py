"""The page: self-contained, right numbers, readable in a browser, and honest about what failed."""

import csv
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray

from climsim.errors import ClimSimError
from climsim.evaluation.members import Member
from climsim.figures.config import FiguresConfig
from climsim.figures.draw import draw_figures
from climsim.netcdf import write_netcdf
from climsim.provenance import trace
from climsim.report.cells import Cell, Table, number
from climsim.report.config import ReportConfig
from climsim.report.details import offline_tables
from climsim.report.failures import failed_stages, read_failures
from climsim.report.growth import growth_table
from climsim.report.iterations import iterations_table
from climsim.report.leaderboard import leaderboard, seeds_table
from climsim.report.page import write_report
from climsim.report.ranking import predictors_table, ranking_table
from climsim.report.summary import study_summary
from climsim.report.tables import best_members_table, stability_table, undefined_table
from climsim.results.damping import read_damping
from climsim.results.labels import member_names
from climsim.results.predictors import _outcomes
from climsim.results.quantities import plain
from climsim.results.study import Study
from tests.evaluation_synthetic import (
    offline_metrics,
    short_runs,
    trained_again,
    write_study,
)

ENTRY = {"name": "cost", "title": "Cost", "caption": "", "files": []}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return write_study(folder, ("unet", "pure_resLSTM"), ("standard", "conf_loss"), (7, 43))


@pytest.fixture(scope="module")
def study(files):
    return Study.open(*files)


@pytest.fixture(scope="module")
def page(files):
    folder = files[1].parent
    only = ("stability", "rmse_growth", "offline_profiles")
    draw_figures(FiguresConfig(folder / "figures", *files, only=only))
    (folder / "experiment.json").write_text(json.dumps({"members": {"networks": ["unet"]}}))
    config = ReportConfig(
        folder / "report.html",
        *files,
        figures=folder / "figures",
        study=folder / "experiment.json",
    )
    seen = []
    write_report(config, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3, 3)
    return config.out


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources, self.links, self.anchors = [], [], set()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "src" in values:
            self.sources.append(values["src"])
        if tag in ("a", "link") and "href" in values:
            self.links.append(values["href"])
        if "id" in values:
            self.anchors.add(values["id"])


def test_page_needs_nothing_from_elsewhere(page):
    found = Links()
    found.feed(page.read_text())
    assert len(found.sources) == len(list((page.parent / "figures").glob("*.png"))) >= 3
    assert all(source.startswith("data:image/png;base64,") for source in found.sources)
    for link in found.links:
        assert not link.startswith(("http", "//", "/")), link
        if link.startswith("#"):
            assert link[1:] in found.anchors
        elif not link.startswith("data:"):
            assert (page.parent / link).exists(), link


def test_page_holds_the_configuration_and_the_provenance(page):
    text = page.read_text()
    assert "&#34;networks&#34;" in text
    assert "online.nc" in text


def test_page_is_traced_to_its_metrics_and_figures(page):
    product = trace(page)
    assert (product.kind, product.ok) == ("report", True)
    assert {link.state for link in product.inputs} == {"unchanged"}
    assert "figures" in {link.product.kind for link in product.inputs if link.product}


def test_leaderboard_puts_the_smallest_online_error_of_whole_runs_first(study):
    online = study.online.copy(deep=True)
    died = int(np.flatnonzero(online["status"].values == "unstable")[0])
    online["rmse_mean_T"][died] = 1e-6
    table = leaderboard(Study(study.offline, online))
    column = next(i for i, head in enumerate(table.heads) if head.startswith("RMSE T"))
    errors = [row[column].order for row in table.rows]
    assert len(errors) == 8
    assert errors[:-1] == sorted(errors[:-1])
    assert errors[-1] == 1e-6
    whole = study.members()["rmse_mean_T"].values[np.arange(8) != died]
    assert errors[0] == pytest.approx(whole.min())


def test_leaderboard_of_offline_metrics_alone_says_not_run(study):
    table = leaderboard(Study(study.offline, None))
    assert {row[table.heads.index("run")].text for row in table.rows} == {"not run"}


def test_leaderboard_has_the_damping_of_members_that_were_measured(study, tmp_path):
    assert not any("damping" in head for head in leaderboard(study).heads)
    member = str(study.offline["member"].values[0])
    rates = xarray.Dataset({"smoothing_t": ("model", [26.5, 3.25])})
    path = tmp_path / "damping.nc"
    write_netcdf(rates.assign_coords(model=["full physics", member]), path, checked=True)
    table = leaderboard(study, damping=read_damping(path))
    column = table.heads.index("damping of T (1/day)")
    known = [row[column].order for row in table.rows if row[column].text != "–"]
    assert known == [3.25]
    assert "Damping: rate" in table.note
    write_netcdf(rates.rename(smoothing_t="other"), path, checked=True)
    with pytest.raises(ClimSimError, match=r"expected a file of `climsim evaluate damping`"):
        read_damping(path)


FAILURES = [
    {"member": "unet-standard-1024", "stage": "train", "message": "no space", "log": "logs/a"},
    {"member": "unet-standard-7", "stage": "online", "message": "killed", "log": "logs/b"},
    {"member": "mmf2", "stage": "online", "message": "<b>odd</b>", "log": "logs/c"},
]


@pytest.fixture
def failures(tmp_path):
    path = tmp_path / "failures.json"
    path.write_text(json.dumps(FAILURES))
    return path


def test_members_that_failed_have_a_row_and_say_where(study, failures):
    table = leaderboard(study, failed_stages(read_failures(failures)))
    assert len(table.rows) == 9
    runs = {r[0].text: r[table.heads.index("run")].text for r in table.rows}
    assert runs["U-Net, standard, seed 1024"] == "failed: train"
    assert "failed: online" in [r[table.heads.index("run")].text for r in table.rows]
    assert not any("mmf2" in r[0].text for r in table.rows)


def test_page_names_members_scored_on_values_that_are_no_numbers(files, tmp_path):
    metrics = offline_metrics("unet", "v6")
    what = "the model returned no finite number for ptend_t in 3 of 7 columns"
    metrics.attrs["problems"] = json.dumps([what])
    write_netcdf(metrics, tmp_path / "bad.nc", checked=True)
    study = Study.open([tmp_path / "bad.nc"], None)
    table = undefined_table(study)
    assert [cell.text for cell in table.rows[0]][1] == what
    assert undefined_table(Study.open(files[0][:1], None)) is None


def test_scores_with_a_prediction_that_is_no_number_are_unknown_in_every_table(tmp_path):
    files = []
    for seed, lost in ((7, None), (43, (0, 5))):
        files.append(tmp_path / f"{seed}.nc")
        write_netcdf(offline_metrics("unet", seed=seed, lost=lost), files[-1], checked=True)
    study = Study.open(files, None)
    tables = dict(offline_tables(study))
    good, bad = (tables[f"U-Net, standard, seed {seed}"] for seed in (7, 43))
    heads = good[0].heads
    scores = [place for place, head in enumerate(heads) if "R²" in head or "RMSE" in head]
    scores.append(heads.index("bias"))

    def unknown(table, name):
        row = next(row for row in table.rows if row[0].text == name)
        return [cell.unknown for cell in row]

    assert {unknown(bad[0], "ptend_t")[place] for place in scores} == {True}
    assert not any(unknown(bad[0], "ptend_q0001"))
    assert not any(unknown(good[0], "ptend_t"))
    surfaces = dict(zip(bad[1].heads, unknown(bad[1], "dT/dt"), strict=True))
    assert (surfaces["ocean"], surfaces["land"], surfaces["sea ice"]) == (True, False, False)
    offline = next(part for part in study_summary(study) if "Best offline" in part)
    assert "Best offline is U-Net, standard, seed 7" in offline
    assert offline.endswith("; unknown of U-Net, standard, seed 43.")
    row = seeds_table(study).rows[0]
    assert [cell.text for cell in row[:4]] == ["U-Net, standard", "2", "–", "–"]


def test_seeds_table_says_of_how_many_seeds_a_mean_is(study):
    row = next(r for r in seeds_table(study).rows if r[0].text == "ResLSTM, confidence loss")
    online = study.online.copy(deep=True)
    shorter = int(np.flatnonzero(online["run"].values == "pure_resLSTM-conf_loss-7")[0])
    online["mean_days"][shorter] = 1.0
    fewer = seeds_table(Study(study.offline, online))
    again = next(r for r in fewer.rows if r[0].text == row[0].text)
    assert "1 of 2 seeds" in again[-1].text
    assert "seeds" not in again[2].text


def test_page_shows_what_failed(files, failures, tmp_path):
    draw_figures(FiguresConfig(tmp_path / "f", *files, only=("stability",), formats=("png",)))
    config = ReportConfig(tmp_path / "r.html", *files, figures=tmp_path / "f", failures=failures)
    text = write_report(config).read_text()
    assert 'id="failures"' in text
    assert "3 members failed and are missing" in text
    assert "&lt;b&gt;odd" in text
    assert "<b>odd" not in text


def test_wrong_failures_are_refused_in_one_line(tmp_path):
    with pytest.raises(ClimSimError, match="no such file"):
        read_failures(tmp_path / "none.json")
    for wrong in ("{}]", '[{"member": "a"}]', '{"member": "a"}', "[3]"):
        (tmp_path / "wrong.json").write_text(wrong)
        with pytest.raises(ClimSimError, match="expected"):
            read_failures(tmp_path / "wrong.json")


def test_columns_in_which_no_row_says_anything_are_left_out_of_the_page():
    rows = [[Cell("a"), number(np.nan), number(1.0)], [Cell("b"), Cell(""), number(np.nan)]]
    shown = Table(("member", "hours", "skill"), rows).filled
    assert shown.heads == ("member", "skill")
    assert [[cell.text for cell in row] for row in shown.rows] == [["a", "1"], ["b", "–"]]


def test_training_time_is_shown_where_known_and_blank_where_not(study):
    offline = study.offline.copy()
    offline["training_hours"] = ("member", [np.nan, *offline["training_hours"].values[1:]])
    offline["training_device"] = ("member", ["", *offline["training_device"].values[1:]])
    table = leaderboard(Study(offline, None))
    hours = table.heads.index("training hours")
    assert [row[hours].text for row in table.rows].count("") == 1
    known = [row[hours].order for row in table.rows if row[hours].order is not None]
    np.testing.assert_allclose(sorted(known), sorted(offline["training_hours"].values[1:]))
    assert {row[hours + 1].text for row in table.rows} == {"", "1 GPU"}


def test_seeds_table_gives_mean_and_range(study):
    table = seeds_table(study)
    row = next(r for r in table.rows if r[0].text == "U-Net, standard")
    assert row[1].order == 2
    chosen = (study.offline["network"] == "unet") & (study.offline["recipe"] == "standard")
    scores = study.offline["r2_mean"].values[chosen.values]
    assert row[2].order == pytest.approx(scores.mean())
    assert f"({scores.min():.3f} to {scores.max():.3f})" in row[2].text
    one = study.offline["seed"].values == 7
    assert seeds_table(Study(study.offline.isel(member=one), None)) is None


def test_scores_by_output_hold_the_condensate_and_the_regions(study):
    name, (outputs, regions) = offline_tables(study)[0]
    assert "U-Net" in name
    row = next(r for r in outputs.rows if r[0].text == "ptend_qn")
    member = study.offline.isel(member=0)
    assert row[2].order == pytest.approx(float(member["r2_mean_ptend_qn"]))
    at = regions.heads.index("30S-30N, below 400 hPa")
    found = member["r2_region_ptend_t"].sel(band="30S-30N", layer="below 400 hPa")
    assert regions.rows[0][at].order == pytest.approx(float(found))
    assert regions.heads[-3:] == ("land", "ocean", "sea ice")


def test_summary_counts_runs_that_became_unstable(study):
    unstable = int((study.members()["status"] == "unstable").sum())
    assert unstable == 1
    text = " ".join(study_summary(study))
    assert "7 of 8 coupled runs reached the end" in text
    assert "1 run became unstable" in text
    best = float(np.nanmax(study.offline["r2_mean"]))
    assert f"mean R² {best:.3f}" in text


def with_death(study, run, day, error=1e-6):
    """The study with one more run that became unstable, and whose short means look best."""
    online = study.online.copy(deep=True)
    online["status"] = online["status"].astype(object)
    online["status"][run], online["days"][run], online["mean_days"][run] = "unstable", day, day
    for name in ("rmse_mean_T", "growth_daily_T", "growth_monthly_T"):
        online[name][run] = error
    online["map_PRECT"][run] *= 50.0
    return Study(study.offline, online)


def test_summary_names_no_run_that_died_as_the_best(study):
    died = with_death(study, 0, 7.0)
    name = "U-Net, standard, seed 7"
    sentences = [
        s for s in study_summary(died) if "differs from the reference" in s or "Mean prec" in s
    ]
    assert len(sentences) == 2
    assert not any(name in sentence for sentence in sentences)
    stable = died.members()["status"].values.astype(str) != "unstable"
    rain = died.members()["map_PRECT"].weighted(died.online["area"]).mean("column") * 8.64e7
    assert f"{rain.values[stable].min():.2f} to {rain.values[stable].max():.2f} mm" in sentences[1]
    errors = died.members()["rmse_mean_T"].values[stable] / float(died.floor()["rmse_mean_T"])
    assert f"is {errors.min():#.2g}".rstrip(".") in sentences[1]


def test_summary_of_runs_that_all_died_compares_none(study):
    every = study
    for run in range(8):
        every = with_death(every, run, 3.0 + run)
    text = " ".join(study_summary(every))
    assert "0 of 8 coupled runs reached the end" in text
    assert "No run stayed stable, so none is compared" in text
    assert "Mean precipitation" not in text


def short_study(study, days=0.5):
    """One coupled run of less than a day."""
    online = study.online.isel(run=[0, -2, -1]).drop_dims("month").isel(day=[0]).copy(deep=True)
    online["day"] = online["day"] * days
    online["days"][:], online["days_wanted"][:] = days, days
    return Study(None, online)


def test_run_of_half_a_day_does_not_test_survival(study):
    short = short_study(study)
    text = " ".join(study_summary(short))
    assert "1 coupled run of 0.5 days is too short to test whether a model survives" in text
    assert "reached the end" not in text
    assert "In the mean of the first 0.5 days the temperature" in text
    assert "day 1" not in text
    table = leaderboard(short)
    assert table.rows[0][table.heads.index("run")].text == "complete, short"
    assert "fewer than 10 days" in table.note
    assert {row[2].text for row in stability_table(short).rows} == {"complete, short", "complete"}


def test_offline_metrics_alone_say_that_survival_was_not_tested(study):
    assert "whether a model survives was not tested" in " ".join(
        study_summary(Study(study.offline, None))
    )


def test_growth_table_compares_with_the_precipitation_of_the_reference(study):
    online = study.online.copy(deep=True)
    online["map_PRECT"][:] = 1.54 / 8.64e7
    note = growth_table(Study(None, online)).note
    assert "mean precipitation of the reference of 1.54 mm day⁻¹" in note
    assert "precipitation" not in growth_table(Study(None, online.drop_vars("map_PRECT"))).note


def test_iterations_stand_beside_each_other_and_full_physics(study):
    assert iterations_table(study) is None
    online = trained_again(study.online)
    again = (online["recipe"] == "standard_visited1") & (online["network"] == "unet")
    rough = xarray.where(again, again.cumsum() * 2.0, 7.0)
    rough[int(np.flatnonzero(again)[0])] = np.nan
    online["roughness_monthly_T"] = rough.expand_dims(month=online.sizes["month"])
    table = iterations_table(Study(None, online))
    cells = {(row[0].text, row[1].text): row for row in table.rows}
    assert list(cells)[:2] == [("ResLSTM, standard", "0"), ("ResLSTM, standard", "1")]
    assert list(cells)[-2:] == [("MMF1", "–"), ("MMF2", "–")]
    # A run that died before has no value; the mean is over the others.
    found = [cells["U-Net, standard", number][-1].text for number in "01"]
    assert found == ["7", "4"]
    assert cells["U-Net, standard", "1"][2].text == "2"
    assert "U-Net, standard, iteration 1, seed 7" in member_names(Study(None, online)).values()


def test_ranking_says_who_is_behind_by_more_than_chance_and_who_lost_runs(study):
    assert ranking_table(study) is None
    members = [Member("unet", "steady", 7), Member("unet", "standard", 7)]
    members.append(Member("pure_resLSTM", "standard", 7))
    table = ranking_table(replace(study, hindcasts=short_runs(members)))
    first, second, third = ([cell.text for cell in row] for row in table.rows)
    assert [row[0] for row in (first, second, third)] == [
        "U-Net, steady",
        "U-Net, standard",
        "ResLSTM, standard",
    ]
    assert [row[4] for row in (first, second, third)] == ["", "yes", "yes"]
    assert [row[5] for row in (first, second, third)] == ["12 of 12", "12 of 12", "11 of 12"]
    assert float(second[3].split()[0]) == pytest.approx(0.3, abs=0.06)
    assert "Two days of the reference that share no weather differ by 4 K." in table.note


def test_what_predicts_a_coupled_run_has_its_interval_beside_it(study):
    table = predictors_table(study)
    assert table.heads[:3] == ("score", "days alive", "error of the mean T (K)")
    shown = {row[0].text: row for row in table.rows}
    assert "offline R², heating" in shown
    assert all(-1 <= row[2].order <= 1 for row in table.rows if row[2].order is not None)


def test_member_whose_run_was_to_be_shorter_predicts_no_later_days(study):
    online = study.online.copy(deep=True)
    online["days"][:], online["days_wanted"][:] = 365.0, 365.0
    online["mean_days"][:] = 365.0
    online["days"][0] = online["days_wanted"][0] = online["mean_days"][0] = 90.0
    labels = predictors_table(replace(study, online=online)).heads
    values = _outcomes(replace(study, online=online))
    assert "days alive" in labels
    assert set(values["days alive"].values()) == {90.0}
    mean = values["error of the mean T (K)"]
    first, second = online["run"].values[:2].tolist()
    assert np.isnan(mean[first])
    assert np.isfinite(mean[second])


def test_members_have_the_same_name_in_every_table_and_sentence(study):
    tables = [leaderboard(study), stability_table(study), growth_table(study)]
    named = [{row[0].text for row in table.rows} for table in tables]
    assert named[0] <= named[1] & named[2]
    assert named[0] == {name for name, _ in offline_tables(study)}
    assert {row[1].text for row in best_members_table(study).rows} <= named[0]
    assert any(name in " ".join(study_summary(study)) for name in named[0])


def test_runs_of_one_member_are_distinguished_by_their_folders(study):
    online = study.online.copy(deep=True)
    online["run"] = ["cold", "warm", *online["run"].values[2:].tolist()]
    for key in ("network", "recipe", "seed"):
        online[key][1] = online[key][0]
    names = {row[0].text for row in stability_table(Study(None, online)).rows}
    assert {"U-Net, standard, seed 7 (cold)", "U-Net, standard, seed 7 (warm)"} <= names


def test_second_reference_equal_to_the_first_is_named_and_divides_nothing(study):
    online = study.online.copy(deep=True)
    second = int(np.flatnonzero(online["role"].values == "floor")[0])
    for name in ("rmse_mean_T", "growth_daily_T", "growth_monthly_T"):
        online[name][second] = xarray.where(np.isfinite(online[name][second]), 0.0, np.nan)
    same = Study(study.offline, online)
    text = " ".join(study_summary(same))
    assert "The second run with full physics is the same as the reference" in text
    assert "internal variability is not known for that time" in text
    assert "times as far from the reference as internal variability" not in text
    table = leaderboard(same)
    assert {row[table.heads.index("T error / floor")].text for row in table.rows} == {"–"}
    cells = [cell.text for row in growth_table(same).rows for cell in row]
    assert any(cell.endswith("(–)") for cell in cells)
    assert "is the same as the reference" not in " ".join(study_summary(study))


def test_summary_of_stable_runs_without_a_whole_period_says_so(study):
    died = with_death(study, 0, 7.0)
    stable = died.online["status"].values.astype(str) != "unstable"
    members = stable & (died.online["role"].values == "member")
    for name in ("growth_daily_T", "growth_monthly_T"):
        died.online[name][np.flatnonzero(members)] = np.nan
    text = " ".join(study_summary(died))
    assert "No run that stayed stable shares a whole period with the reference run." in text
    assert "differs from the reference" not in text


def test_summary_without_a_floor_says_that_it_is_unknown(study):
    online = study.online.isel(run=study.online["role"].values != "floor")
    assert "internal variability is not known" in " ".join(study_summary(Study(None, online)))


def test_stability_table_names_place_value_and_bounds_of_a_failure(study):
    online = study.online.copy()
    record = {
        "message": "unstable after 2.4 days",
        "instability": {
            "variable": "state_t", "value": 412.6329345703125, "bounds": [130, 360], "step": 173,
            "column": 8, "level": 3, "lat": -38.3, "lon": 292.4,
        },
    }  # fmt: skip
    online.attrs["records"] = json.dumps({"unet-standard-7": record})
    table = stability_table(Study(None, online))
    happened = next(r[-1].text for r in table.rows if r[0].text == "U-Net, standard, seed 7")
    assert happened == (
        "unstable after 2.4 days; air temperature 412.6 K, outside 130 to 360 K, at step 173, "
        "column 8, level 3 (38° S, 68° W)"
    )


def test_growth_table_gives_errors_as_multiples_of_internal_variability(study):
    online = study.online.copy()
    label, name = "unet-standard-7", "U-Net, standard, seed 7"
    floor = "MMF2 (internal variability)"
    online.attrs["records"] = json.dumps(
        {
            label: {
                "coupled_steps": 100, "cells": 20,
                "corrections": {"positivity:ptend_q0001": 20, "positivity:ptend_q0002": 500},
                "added": {"ptend_q0001": 2e-5, "ptend_q0002": 3e-5, "ptend_t": 7.0},
            }
        }
    )  # fmt: skip
    table = growth_table(Study(None, online))
    rows = {row[0].text: row for row in table.rows}
    assert not any("MMF1" in row for row in rows)
    assert table.heads[:3] == ("run", "status", "days")
    word, axis = ("monthly", "month") if online.sizes.get("month", 0) >= 2 else ("daily", "day")
    last = online[f"growth_{word}_T"].sel(run=[label, "MMF2"]).isel({axis: -1}).values
    position = [i for i, head in enumerate(table.heads) if head.startswith(axis)][-1]
    expected = f"{number(last[0]).text} ({number(last[0] / last[1]).text})"
    assert rows[name][position].text == expected
    assert rows[floor][position].text == number(last[1]).text
    # 20 and 500 of 2000 values; 5e-5 kg/m2/s summed over 100 steps are 0.0432 mm a day.
    assert [cell.text for cell in rows[name][-5:-1]] == ["1", "25", "0", "0.0432"]
    assert {cell.text for cell in rows[floor][-5:-1]} == {"–"}


def test_tables_are_written_with_numbers_that_programs_read(files, page, tmp_path):
    figures, tables = page.parent / "figures", tmp_path / "tables"
    write_report(ReportConfig(tmp_path / "r.html", *files, figures=figures, tables=tables))
    with (tmp_path / "tables" / "leaderboard.csv").open(newline="") as stream:
        heads, *rows = csv.reader(stream)
    table = leaderboard(Study.open(*files))
    assert tuple(heads) == table.heads
    expected = [[c.text if c.exact is None else c.exact for c in row] for row in table.rows]
    assert rows == expected
    skill = table.heads.index("R², all outputs")
    assert float(rows[0][skill]) == pytest.approx(table.rows[0][skill].order, rel=1e-5)
    assert (tmp_path / "tables" / "growth.csv").is_file()


def test_second_report_into_a_folder_leaves_no_table_of_the_first(files, page, tmp_path):
    tables = tmp_path / "tables"
    runs = short_runs([Member("unet", "standard", seed) for seed in (7, 43)])
    write_netcdf(runs, tmp_path / "hindcasts.nc", checked=True)
    (tmp_path / "index.json").write_text(json.dumps({"figures": [ENTRY]}))
    shared = {"figures": tmp_path, "tables": tables}

    def listed():
        index = json.loads((tables / "index.json").read_text())["tables"]
        assert {f"{name}.csv" for name in index} | {"index.json"} == set(names())
        return set(index)

    def names():
        return (path.name for path in tables.iterdir() if path.name != "own.csv")

    config = ReportConfig(tmp_path / "r.html", *files, tmp_path / "hindcasts.nc", **shared)
    write_report(config)
    assert {"ranking", "seeds", "growth"} <= listed()
    (tables / "own.csv").write_text("of the user")
    write_report(ReportConfig(tmp_path / "r.html", files[0][:1], **shared))
    assert "leaderboard" in listed()
    assert not {"ranking", "seeds", "growth"} & listed()
    assert (tables / "own.csv").read_text() == "of the user"


def test_symbols_of_figures_lose_their_markup():
    assert plain("g kg$^{-1}$ day$^{-1}$") == "g kg⁻¹ day⁻¹"
    assert plain("dQ$_{liq}$/dt") == "dQliq/dt"


def test_names_from_files_cannot_inject_markup(files, tmp_path):
    with xarray.open_dataset(files[1]) as dataset:
        online = dataset.load()
    online["run"] = ["<script>alert(1)</script>", *online["run"].values[1:].tolist()]
    write_netcdf(online, tmp_path / "online.nc", checked=True)
    draw_figures(FiguresConfig(tmp_path / "f", (), tmp_path / "online.nc", only=("stability",)))
    config = ReportConfig(tmp_path / "r.html", (), tmp_path / "online.nc", figures=tmp_path / "f")
    assert "<script>alert" not in write_report(config).read_text()


def test_missing_figures_and_inputs_are_refused_in_one_line(files, tmp_path):
    with pytest.raises(ClimSimError, match="run `climsim figures"):
        write_report(ReportConfig(tmp_path / "r.html", *files, figures=tmp_path))
    with pytest.raises(ClimSimError, match="at least one file"):
        ReportConfig(tmp_path / "r.html")


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def opened(page):
    """The page in a browser of a phone's width, and what its console showed."""
    if BROWSER is None:
        pytest.skip("no Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 380, "height": 800})
        console = []
        tab.on("console", lambda message: console.append(message.text))
        tab.on("pageerror", lambda error: console.append(str(error)))
        tab.goto(page.as_uri())
        yield tab, console
        browser.close()


def test_page_in_a_browser_loads_its_pictures_and_fits_a_phone(opened):
    tab, console = opened
    assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    widths = tab.evaluate("[...document.images].map(i => i.getBoundingClientRect().right)")
    assert widths
    assert max(widths) <= 380
    assert console == []


@pytest.mark.parametrize(
    ("head", "first"), [("R², all outputs", "descending"), ("RMSE T (K)", "ascending")]
)
def test_click_anywhere_on_a_heading_sorts_the_best_first(opened, head, first):
    tab, console = opened
    table = tab.locator("#leaderboard table.sortable").first
    heading = table.locator("thead th").filter(has_text=head)
    column = heading.evaluate("head => head.cellIndex")
    orders = (
        f"rows => rows.map(row => row.cells[{column}].dataset.order).filter(x => x).map(Number)"
    )
    heading.click(position={"x": 3, "y": 3})
    best_first = table.locator("tbody tr").evaluate_all(orders)
    assert heading.get_attribute("aria-sort") == first
    heading.click(position={"x": 3, "y": 3})
    assert best_first == sorted(best_first, reverse=first == "descending")
    assert table.locator("tbody tr").evaluate_all(orders) == best_first[::-1]
    assert len(set(best_first)) == len(best_first)
    assert console == []


@pytest.mark.parametrize("name", ["../secret.png", "javascript:alert(1)//.png", "<b>.png"])
def test_index_of_figures_names_files_of_its_own_folder_alone(files, tmp_path, name):
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = tmp_path / "figures"
    folder.mkdir()
    entry = {"name": "cost", "title": "Cost", "caption": "", "files": [name]}
    (folder / "index.json").write_text(json.dumps({"figures": [entry]}))
    with pytest.raises(ClimSimError, match=r"index\.json: name of a figure: expected a name"):
        write_report(ReportConfig(tmp_path / "report.html", files[0], figures=folder))


@pytest.mark.parametrize(
    ("index", "found"),
    [
        (
            {"tables": ["seeds"], "git_revision": "x"},
            "expected .* figures, found git_revision, tables",
        ),
        ([ENTRY], "expected an object with a list of figures, found list"),
        ({"figures": "cost"}, "expected an object with a list of figures, found figures"),
        ({"figures": [ENTRY, 3]}, "figure 2: expected name as a text, found none"),
        ({"figures": [ENTRY | {"caption": None}]}, "figure 1: expected caption as a text"),
        ({"figures": [ENTRY | {"files": "a.png"}]}, "figure 1: expected files as a list"),
        ({"figures": []}, "expected figures, found none, as of a drawing that was interrupted"),
        ({"figures": [ENTRY], "input_hashes": "x"}, "input_hashes: expected a mapping as JSON"),
    ],
)
def test_index_of_something_else_is_refused_in_one_line(files, tmp_path, index, found):
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(ClimSimError, match=rf"index\.json: {found}") as refused:
        write_report(ReportConfig(tmp_path / "report.html", files[0][:1], figures=folder))
    assert "\n" not in str(refused.value)


def test_figures_of_other_metrics_than_those_of_the_page_are_refused_in_one_line(files, tmp_path):
    table = tmp_path / "hu2025.csv"
    table.write_text("output,level,r2\ncam_out_PRECC,,0.5\n")
    own = tmp_path / "own.nc"
    shutil.copy(files[0][0], own)
    drawn = FiguresConfig(
        tmp_path / "figures",
        (own, files[0][1]),
        external_r2=(table,),
        only=("offline_sections",),
        formats=("png",),
        dpi=40,
    )
    draw_figures(drawn)
    config = ReportConfig(tmp_path / "report.html", drawn.offline, figures=drawn.out)
    write_report(config)

    def refused(config, path):
        with pytest.raises(
            ClimSimError, match=rf"found that \S*{path} has changed .*draw them"
        ) as e:
            write_report(config)
        assert "\n" not in str(e.value)

    refused(replace(config, offline=(own,)), files[0][1].name)
    refused(replace(config, offline=(own, *files[0][1:3])), files[0][2].name)
    write_netcdf(offline_metrics("unet", "standard", 99), own, checked=True)
    refused(config, "own.nc")


def test_figures_whose_drawing_was_interrupted_are_refused(files, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    drawn = FiguresConfig(tmp_path / "f", files[0][:1], only=("offline_sections",), dpi=40)
    draw_figures(drawn)
    monkeypatch.setattr("climsim.figures.draw.run_tasks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_figures(drawn)
    with pytest.raises(ClimSimError, match="found none, as of a drawing that was interrupted"):
        write_report(ReportConfig(tmp_path / "r.html", files[0][:1], figures=drawn.out))


def test_figures_without_pictures_for_the_page_say_which_format_to_draw(files, tmp_path):
    (tmp_path / "cost.pdf").write_bytes(b"%PDF")
    entry = ENTRY | {"files": ["cost.pdf"]}
    (tmp_path / "index.json").write_text(json.dumps({"figures": [entry]}))
    config = ReportConfig(tmp_path / "report.html", files[0][:1], figures=tmp_path)
    assert "Cost: no PNG in the folder of figures" in write_report(config).read_text()


def test_links_of_the_page_are_addresses_whatever_files_are_called(files, tmp_path):
    metrics = tmp_path / "javascript:alert(1) #.nc"
    shutil.copy(files[0][0], metrics)
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "index.json").write_text(json.dumps({"figures": [ENTRY]}))
    out = tmp_path / "report.html"
    write_report(ReportConfig(out, (metrics,), figures=folder))
    links = Links()
    links.feed(out.read_text())
    assert "javascript%3Aalert%281%29%20%23.nc" in links.links


def test_keyboard_alone_sorts_scrolls_and_unfolds(opened):
    tab, console = opened
    table = tab.locator("#leaderboard table.sortable").first
    button = table.locator("thead button").nth(1)
    button.focus()
    before = button.locator("..").get_attribute("aria-sort")
    tab.keyboard.press("Enter")
    assert button.locator("..").get_attribute("aria-sort") != before
    tab.locator("#leaderboard .scroll").first.focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("document.querySelector('#leaderboard .scroll').scrollLeft > 0")
    details = tab.locator("#outputs details").first
    details.locator("summary").focus()
    tab.keyboard.press("Enter")
    assert details.evaluate("d => d.open")
    assert console == []


def test_first_column_stays_while_a_phone_scrolls_the_table(opened):
    tab, _ = opened
    box = tab.locator("#leaderboard .scroll").first
    cell = box.locator("tbody th").first
    left = "cell => cell.getBoundingClientRect().left"
    start = cell.evaluate(left)
    box.evaluate("box => { box.scrollLeft = 300; }")
    assert cell.evaluate(left) == pytest.approx(start, abs=1.5)
    assert cell.evaluate("cell => cell.getBoundingClientRect().width") < 0.5 * 380
    box.evaluate("box => { box.scrollLeft = 0; }")


def test_wide_screen_shows_every_column_of_the_leaderboard(opened):
    tab, _ = opened
    tab.set_viewport_size({"width": 1400, "height": 800})
    fits = "box => box.scrollWidth <= box.clientWidth"
    assert tab.locator("#leaderboard .scroll").first.evaluate(fits)
    tab.set_viewport_size({"width": 380, "height": 800})
