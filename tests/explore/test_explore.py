"""The interactive page in a real browser: what is picked is what is drawn."""

import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.client import HTTPConnection

import numpy as np
import pytest

from climsim.errors import ClimSimError
from climsim.explore.config import ExploreConfig
from climsim.explore.page import member_labels, page_of
from climsim.explore.selection import Selection, cuts, growth_lines, maps, profile_lines, sections
from climsim.explore.serve import start
from climsim.explore.views import views
from climsim.results.study import Study
from climsim.results.time_axis import MONTHS
from tests.evaluation_synthetic import write_study

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
MEMBERS = ("unet-standard-7", "pure_resLSTM-conf_loss-43")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explore")
    return write_study(folder, ("unet", "pure_resLSTM"), ("standard", "conf_loss"), (7, 43))


@pytest.fixture(scope="module")
def study(files):
    return Study.open(*files)


def pick(measure, name, level=0):
    return Selection("", measure, name, MEMBERS, level)


def test_profiles_are_the_saved_metrics_in_display_units(study):
    first, second = profile_lines(study, pick("rmse", "ptend_t"))
    saved = study.offline["rmse_ptend_t"].sel(member=list(MEMBERS))
    np.testing.assert_allclose(first.x, saved[0] * 86400)
    np.testing.assert_allclose(second.x, saved[1] * 86400)
    np.testing.assert_allclose(first.y, study.offline["pressure"] / 100)
    assert second.label == "ResLSTM, confidence loss, seed 43"
    score = profile_lines(study, pick("r2", "ptend_t"))[0]
    np.testing.assert_allclose(score.x, study.offline["r2_ptend_t"].sel(member=MEMBERS[0]))


def test_cut_is_the_section_at_the_level(study):
    section = sections(study, pick("zonal_bias", "T"))[1].values
    line = cuts(study, pick("zonal_bias", "T", level=7))[1]
    np.testing.assert_array_equal(line.y, section[7])
    saved = study.online["zonal_bias_T"].sel(run=MEMBERS[1]).isel(level=7).dropna("latitude")
    np.testing.assert_array_equal(line.x, saved["latitude"])
    np.testing.assert_array_equal(line.y, saved)


def test_growth_ends_with_the_floor_and_maps_begin_with_the_reference(study):
    lines = growth_lines(study, pick("growth_monthly", "T"), MONTHS)
    assert [line.network for line in lines[:-1]] == ["unet", "pure_resLSTM"]
    assert (lines[-1].label, lines[-1].full_physics) == ("MMF2 (internal variability)", True)
    np.testing.assert_array_equal(lines[0].x, [1, 2, 3, 4])
    reference, first, _ = maps(study, pick("map", "PRECT"))
    member = study.online["map_PRECT"].sel(run=MEMBERS[0]) * 8.64e7
    np.testing.assert_allclose(reference.values + first.values, member)


def test_only_views_with_metrics_are_offered(study):
    assert list(views(study)) == [
        "Offline profiles", "Offline sections", "RMSE growth", "Online profiles",
        "Online sections", "Maps",
    ]  # fmt: skip
    assert list(views(Study(study.offline, None))) == ["Offline profiles", "Offline sections"]
    assert "Offline profiles" not in views(Study(None, study.online))
    assert len(member_labels(study)) == 8


def test_bad_input_is_refused_in_one_line(study, files, tmp_path):
    with pytest.raises(ClimSimError, match="at least one file"):
        ExploreConfig()
    with pytest.raises(ClimSimError, match=r"port: .*found 70000"):
        ExploreConfig(files[0], port=70000)
    with pytest.raises(ClimSimError, match="nothing to show"):
        page_of(Study(None, None))
    server = start(study)
    try:
        with pytest.raises(ClimSimError, match=f"port={server.port}: cannot listen"):
            start(study, server.port)
    finally:
        server.stop()
    missing = f"offline=[{tmp_path / 'none.nc'}]"
    command = [sys.executable, "-m", "climsim", "explore", missing, "browser=false"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "no such file of metrics" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_page_is_given_only_to_those_who_ask_for_this_machine(study):
    with served(study, hosts=("node:5006",)) as address:
        port = int(address.rstrip("/").rpartition(":")[2])

        def answer(host, path="/"):
            connection = HTTPConnection("localhost", port, timeout=60)
            connection.request("GET", path, headers={"Host": host})
            return connection.getresponse().status

        for host in (f"localhost:{port}", "localhost", f"127.0.0.1:{port}", "node:5006", "NODE"):
            assert answer(host) == 200
        for host in (f"evil.com:{port}", "localhost.evil.com", "evil.com", "node.evil.com"):
            assert answer(host) == 403
            assert answer(host, "/ws") == 403


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hosts": ("node",)}, "hosts: expected name:port, such as node:5006, found 'node'"),
        ({"hosts": ("*:80",)}, "hosts: expected name:port"),
        (
            {"hosts": ("node:1",), "port": 0},
            "port: expected the number of a port beside hosts, found 0",
        ),
    ],
)
def test_other_names_of_the_page_are_names_with_a_port(files, changes, message):
    with pytest.raises(ClimSimError, match=message):
        ExploreConfig(files[0], **changes)


@contextmanager
def served(study, **options):
    """Address of the page, served from another thread."""
    ready, box = threading.Event(), {}

    def run():
        import asyncio

        asyncio.set_event_loop(asyncio.new_event_loop())
        box["server"] = start(study, **options)
        ready.set()
        box["server"].io_loop.start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(60)
    server = box["server"]
    yield f"http://localhost:{server.port}/"
    server.io_loop.add_callback(server.io_loop.stop)
    thread.join(30)
    server.stop()


@pytest.fixture(scope="module")
def browser(study):
    """A browser, and the address where the page is served."""
    if BROWSER is None:
        pytest.skip("no Chromium")
    from playwright.sync_api import sync_playwright

    with served(study) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser, address
        browser.close()


@pytest.fixture
def visit(browser):
    """The page as it opens, what its console showed and what it asked for."""
    program, address = browser
    page = program.new_page(viewport={"width": 1300, "height": 900})
    console, asked = [], []
    page.on("console", lambda m: console.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: console.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_function("window.Bokeh && Bokeh.documents.length && !!Bokeh.index.roots")
    page.locator("canvas").first.wait_for()
    yield page, console, asked, address
    page.close()


SHOWN = """
(name => {
  const body = Bokeh.documents[0].get_model_by_name("body");
  const below = model => [model, ...(model.children || []).flatMap(below)];
  return below(body).filter(model => model.name === name);
})
"""
"""The plots of a name that are on the page now."""
LINES = """
() => {
  const [plot] = SHOWN("NAME");
  const values = (line, axis) => Array.from(line.data_source.get_array(axis));
  return plot.renderers.filter(r => r.glyph.type === "Line")
    .map(r => [r.name, values(r, "x"), values(r, "y")]);
}
"""


def lines_of(page, name="lines"):
    return page.evaluate(LINES.replace("SHOWN", SHOWN).replace("NAME", name))


def wait_for_lines(page, count):
    shown = f"{SHOWN}('lines')[0].renderers.filter(r => r.glyph.type === 'Line')"
    page.wait_for_function(f"{shown}.length === {count}")


def choose(page, widget, value):
    """Pick an entry of a list as a user does, and wait until the page has followed."""
    before = page.evaluate("Bokeh.documents[0].get_model_by_name('body').children[0].id")
    page.get_by_label(widget).select_option(label=value)
    page.wait_for_function(
        f"Bokeh.documents[0].get_model_by_name('body').children[0].id !== '{before}'"
    )


def picture(page):
    page.wait_for_timeout(400)
    return page.screenshot()


def test_page_follows_what_is_picked(visit, study):
    page, console, asked, address = visit
    assert [name for name, _, _ in lines_of(page)] == [
        "U-Net, standard, seed 7", "ResLSTM, standard, seed 7",
    ]  # fmt: skip
    first, drawn = lines_of(page), picture(page)
    choose(page, "variable", "dQv/dt  [ptend_q0001]")
    second, redrawn = lines_of(page), picture(page)
    saved = study.offline["r2_ptend_q0001"].sel(member="unet-standard-7")
    found = np.array([np.nan if x is None else x for x in second[0][1]], dtype=float)
    np.testing.assert_allclose(found, saved, rtol=1e-6)
    assert first != second
    assert drawn != redrawn
    choose(page, "view", "RMSE growth")
    assert lines_of(page)[-1][0].startswith("MMF2")
    choose(page, "view", "Maps")
    assert page.evaluate(f"{SHOWN}('map').length") == 3
    assert console == []
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)


def test_level_moves_the_cut(visit, study):
    page, console, _, _ = visit
    choose(page, "view", "Online sections")
    before = lines_of(page, "cut")
    handle = page.locator(".noUi-handle")
    handle.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight", delay=50)
    page.wait_for_function(f"{SHOWN}('cut')[0].title.text.startsWith('level 15')")
    after = lines_of(page, "cut")
    saved = study.online["zonal_bias_T"].sel(run="unet-standard-7").isel(level=15)
    np.testing.assert_allclose(after[0][2], saved.dropna("latitude"), rtol=1e-6)
    assert before != after
    assert console == []


def test_members_come_and_go(visit):
    page, console, _, _ = visit
    choose(page, "view", "Online profiles")
    names = [name for name, _, _ in lines_of(page)]
    page.locator(".choices__button").first.click()
    wait_for_lines(page, len(names) - 1)
    assert [name for name, _, _ in lines_of(page)] == names[1:]
    added = "ResLSTM, confidence loss, seed 43"
    page.locator(".choices__input--cloned").click()
    page.locator(".choices__item--selectable", has_text=added).click()
    wait_for_lines(page, len(names))
    assert added in [name for name, _, _ in lines_of(page)]
    assert console == []


def test_page_fits_a_telephone_and_scales_say_what_they_show(visit):
    page, console, _, _ = visit
    choose(page, "view", "Offline sections")
    titles = f"{SHOWN}('section').map(p => p.below.find(b => b.type === 'ColorBar').title)"
    assert page.evaluate(titles)[0].startswith("R² of ")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("meta[name=viewport]").count() == 1
    page.set_viewport_size({"width": 1300, "height": 900})
    assert console == []
