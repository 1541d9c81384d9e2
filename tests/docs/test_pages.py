"""Pages say when they were measured, keep commands short, and show every figure there is."""

import re
import subprocess
from datetime import date

import command_reference
import measured
import pytest

import gallery
from climsim.figures.registry import figure_table
from tests import ROOT
from tests.docs.shell import SHELLS, pages

SITE = [page for page in pages() if page.is_relative_to(ROOT / "docs")]
UNITS = r"ms|s|min|minutes|hours|h|MB|GB|MiB|GiB|SYPD|samples/s|columns/s|simulated years"
NUMBER = re.compile(rf"\d (?:{UNITS})\b")


def front_matter(text):
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return dict(line.split(": ", 1) for line in found[1].splitlines()) if found else {}


@pytest.mark.parametrize("page", SITE, ids=lambda page: page.stem)
def test_page_with_numbers_says_when_and_with_which_revision_they_were_measured(page):
    text = page.read_text()
    declared = front_matter(text).get(measured.KEY)
    if declared is None:
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        assert NUMBER.findall(prose) == [], f"begin the page with measured: ({measured.__doc__})"
        return
    assert all(one.day <= date.today() for one in measured.parse(declared))


def test_revisions_that_were_measured_are_those_of_this_history():
    declared = [front_matter(page.read_text()).get(measured.KEY, "nothing") for page in SITE]
    revisions = {one.revision for text in declared for one in measured.parse(text)}
    known = ["git", "-C", ROOT, "cat-file", "-e"]
    unknown = {
        revision
        for revision in revisions
        if subprocess.run([*known, revision], capture_output=True).returncode != 0
    }
    # A copy without the history knows none of them.
    assert unknown in (set(), revisions)


def test_readme_says_when_its_numbers_were_measured():
    text = " ".join((ROOT / "README.md").read_text().split())
    assert re.search(r"Measured on \d{4}-\d\d-\d\d at revision `[0-9a-f]{7}`", text)


def test_measurements_are_read_and_other_forms_refused():
    first, second = measured.parse("2026-11-23 at 5a404de (runs; speed)".replace("; speed", "")
                                   + "; 2026-11-22 at 69926bb")  # fmt: skip
    assert first == measured.Measurement(date(2026, 11, 23), "5a404de", "runs")
    assert second.what == ""
    assert measured.parse("nothing") == []
    for wrong in ("yesterday", "2026-13-01 at 5a404de", "2026-11-23"):
        with pytest.raises(ValueError, match=r"measured|month"):
            measured.parse(wrong)


def kept_files():
    """Files of the repository; None in a copy without its history."""
    command = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True)
    return {ROOT / line for line in listed.stdout.splitlines()} if not listed.returncode else None


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_links_lead_to_files_that_the_repository_holds(page):
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    targets = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose)]
    local = {link for link in targets if link and not re.match(r"\w+:", link)}
    kept = kept_files()
    lost = {
        link
        for link in local
        if not (path := (page.parent / link).resolve()).exists()
        or (kept is not None and path.is_file() and path not in kept)
    }
    assert lost == set()


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_commands_fit_the_page(page):
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = [x for kind, text in blocks if kind in SHELLS for x in text.splitlines()]
    assert [x for x in lines if len(x) > command_reference.WIDTH] == []


def test_long_command_is_continued_and_words_in_quotes_stay_whole():
    assert command_reference.wrapped("climsim a=1 b=2", 12) == "climsim \\\n    a=1 b=2"
    whole = "climsim 'a b c d e f' g"
    assert command_reference.wrapped(whole, 14) == "climsim \\\n    'a b c d e f' \\\n    g"


def test_gallery_shows_every_figure_with_its_command():
    text = gallery.PAGE.read_text()
    assert text == gallery.page(gallery.REPORT.read_text(), gallery.measured()), (
        "run scripts/gallery.py"
    )
    for name in figure_table():
        assert (gallery.PICTURES / f"{name}.png").stat().st_size < 80_000
        assert f"only={name} " in text
