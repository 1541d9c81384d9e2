"""The page: self-contained, right numbers, readable in a browser, and honest about what failed."""

import csv
import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray

from climsim.errors import ClimSimError
from climsim.figures.draw import FiguresConfig, draw_figures
from climsim.figures.study import Study
from climsim.files import write_netcdf
from climsim.provenance import trace
from climsim.report.cells import number, plain
from climsim.report.details import offline_tables
from climsim.report.failures import failed_stages, read_failures
from climsim.report.growth import growth_table
from climsim.report.leaderboard import leaderboard, seeds_table
from climsim.report.page import ReportConfig, write_report
from climsim.report.summary import summarize
from climsim.report.tables import stability_table
from evaluation_synthetic import write_study


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
    assert len(found.sources) == 3
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
    runs = {(r[1].text, r[2].text): r[table.heads.index("run")].text for r in table.rows}
    assert runs["standard", "1024"] == "failed: train"
    assert "failed: online" in [r[table.heads.index("run")].text for r in table.rows]
    assert not any("mmf2" in r[0].text for r in table.rows)


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
    row = next(r for r in table.rows if (r[0].text, r[1].text) == ("U-Net", "standard"))
    assert row[2].order == 2
    chosen = (study.offline["network"] == "unet") & (study.offline["recipe"] == "standard")
    scores = study.offline["r2_mean"].values[chosen.values]
    assert row[3].order == pytest.approx(scores.mean())
    assert f"({scores.min():.3f} to {scores.max():.3f})" in row[3].text
    one = study.offline["seed"].values == 7
    assert seeds_table(Study(study.offline.isel(member=one), None)) is None


def test_scores_by_output_hold_the_condensate_and_the_regions(study):
    name, (outputs, regions) = offline_tables(study)[0]
    assert "U-Net" in name
    row = next(r for r in outputs.rows if r[0].text == "ptend_qn")
    member = study.offline.isel(member=0)
    assert row[2].order == pytest.approx(float(member["r2_mean_ptend_qn"]))
    at = regions.heads.index("30S-30N, below 400 hPa")
    found = member["r2_region_ptend_t"].sel(band="30S-30N", height="below 400 hPa")
    assert regions.rows[0][at].order == pytest.approx(float(found))
    assert regions.heads[-3:] == ("land", "ocean", "sea ice")


def test_summary_counts_runs_that_became_unstable(study):
    unstable = int((study.members()["status"] == "unstable").sum())
    assert unstable == 1
    text = " ".join(summarize(study))
    assert "7 of 8 coupled runs reached the end" in text
    assert "1 run became unstable" in text
    best = float(np.nanmax(study.offline["r2_mean"]))
    assert f"mean R² {best:.3f}" in text


def test_summary_without_a_floor_says_that_it_is_unknown(study):
    online = study.online.isel(run=study.online["role"].values != "floor")
    assert "internal variability is not known" in " ".join(summarize(Study(None, online)))


def test_stability_table_names_place_value_and_bounds_of_a_failure(study):
    online = study.online.copy()
    record = {
        "message": "unstable after 2.4 days",
        "instability": {
            "variable": "state_t", "value": 412.0, "bounds": [130, 360], "step": 173,
            "column": 8, "level": 3, "lat": 12.3, "lon": 40.0,
        },
    }  # fmt: skip
    online.attrs["records"] = json.dumps({"unet-standard-7": record})
    table = stability_table(Study(None, online))
    happened = next(r[-1].text for r in table.rows if r[0].text == "unet-standard-7")
    assert happened.startswith("unstable after 2.4 days; state_t = 412.0 outside [130, 360]")
    assert "level 3 (12 N, 40 E)" in happened


def test_growth_table_gives_errors_as_multiples_of_internal_variability(study):
    online = study.online.copy()
    label = "unet-standard-7"
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
    assert "MMF1" not in rows
    assert table.heads[:3] == ("run", "status", "days")
    word, axis = ("monthly", "month") if online.sizes.get("month", 0) >= 2 else ("daily", "day")
    last = online[f"growth_{word}_T"].sel(run=[label, "MMF2"]).isel({axis: -1}).values
    position = [i for i, head in enumerate(table.heads) if head.startswith(axis)][-1]
    expected = f"{number(last[0]).text} ({number(last[0] / last[1]).text})"
    assert rows[label][position].text == expected
    assert rows["MMF2"][position].text == number(last[1]).text
    # 20 and 500 of 2000 values; 5e-5 kg/m2/s summed over 100 steps are 0.0432 mm a day.
    assert [cell.text for cell in rows[label][-5:-1]] == ["1", "25", "0", "0.0432"]
    assert {cell.text for cell in rows["MMF2"][-5:-1]} == {"–"}


def test_tables_are_written_as_they_are_shown(files, tmp_path):
    config = ReportConfig(tmp_path / "r.html", *files, tables=tmp_path / "tables")
    write_report(config)
    with (tmp_path / "tables" / "leaderboard.csv").open(newline="") as stream:
        heads, *rows = csv.reader(stream)
    table = leaderboard(Study.open(*files))
    assert tuple(heads) == table.heads
    assert rows == [[cell.text for cell in row] for row in table.rows]
    assert (tmp_path / "tables" / "growth.csv").is_file()


def test_numbers_keep_three_digits_and_show_the_unknown_as_a_dash():
    shown = [number(x).text for x in (0.12345, 12.345, 1234.5, 0.0, -0.5, 1e-7, np.nan)]
    assert shown == ["0.123", "12.3", "1234", "0", "-0.500", "1.00e-07", "–"]
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
    """The page in a browser of a phone's width, and what its console said."""
    if BROWSER is None:
        pytest.skip("no Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 380, "height": 800})
        said = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(page.as_uri())
        yield tab, said
        browser.close()


def test_page_in_a_browser_loads_its_pictures_and_fits_a_phone(opened):
    tab, said = opened
    assert tab.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 100)")
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    widths = tab.evaluate("[...document.images].map(i => i.getBoundingClientRect().right)")
    assert widths
    assert max(widths) <= 380
    assert said == []


def test_click_on_a_heading_sorts_the_table_up_and_down(opened):
    tab, said = opened
    table = tab.locator("#leaderboard table.sortable").first
    heading = table.locator("th").nth(3)
    column = "rows => rows.map(row => Number(row.cells[3].dataset.order))"
    heading.locator("button").click()
    up = table.locator("tbody tr").evaluate_all(column)
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").click()
    down = table.locator("tbody tr").evaluate_all(column)
    assert up == sorted(up)
    assert down == up[::-1]
    assert len(set(up)) == len(up)
    assert said == []


@pytest.mark.parametrize("name", ["../secret.png", "javascript:alert(1)//.png", "<b>.png"])
def test_index_of_figures_names_files_of_its_own_folder_alone(files, tmp_path, name):
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = tmp_path / "figures"
    folder.mkdir()
    entry = {"name": "cost", "title": "Cost", "caption": "", "files": [name]}
    (folder / "index.json").write_text(json.dumps({"figures": [entry]}))
    with pytest.raises(ClimSimError, match=r"index\.json: name of a figure: expected a name"):
        write_report(ReportConfig(tmp_path / "report.html", files[0], figures=folder))


def test_links_of_the_page_are_addresses_whatever_files_are_called(files, tmp_path):
    metrics = tmp_path / "javascript:alert(1) #.nc"
    shutil.copy(files[0][0], metrics)
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "index.json").write_text(json.dumps({"figures": []}))
    out = tmp_path / "report.html"
    write_report(ReportConfig(out, (metrics,), figures=folder))
    links = Links()
    links.feed(out.read_text())
    assert "javascript%3Aalert%281%29%20%23.nc" in links.links
