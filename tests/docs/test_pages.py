"""Pages say when they were measured, keep commands short, and show every figure there is."""

import re
import subprocess
from datetime import date

import command_reference
import measured
import pytest
import yaml

import gallery
from climsim.figures.registry import figure_table
from tests import ROOT
from tests.docs.shell import pages, pasted_lines

SITE = [page for page in pages() if page.is_relative_to(ROOT / "docs")]
UNITS = (
    r"ms|s|seconds|min|minutes|hours|h|kB|MB|GB|TB|MiB|GiB|SYPD|samples/s|columns/s|simulated years"
    r"|K|%|times (?:as|faster|slower|more|less)"
)
COUNT = r"(?:\d[\d.,]*|two|three|four|five|six|seven|eight|nine|ten|twelve)"
NUMBER = re.compile(
    rf"\d (?:{UNITS})(?![\w/-])"
    rf"|\b(?:{COUNT} times|twice) as (?:fast|slow|much|many|large|long)\b"
    # Whole days are mostly settings; what happened after some was observed.
    rf"|\d\.\d+ (?:days|weeks|months)\b|\bafter (?:{COUNT} to )?{COUNT} (?:days|weeks|months)\b"
)
DEFINED = (
    "60 levels and 20 minutes",
    "1200 s",
    "(T - 253.16 K) / 20 K",
)
"""Numbers with units that define something: nobody measured them."""
FRONT = re.compile(r"---\n(.*?)\n---\n", re.DOTALL)


def front_matter(text):
    """What stands between two lines of dashes at the head of a page, as Sphinx reads it."""
    found = FRONT.match(text)
    return yaml.safe_load(found[1]) if found else {}


def numbers(text):
    """What looks measured on a page, outside its front matter and its blocks of code."""
    # A directive, such as the glossary, holds text that is read.
    prose = re.sub(
        r"^```(\S*).*?^```",
        lambda block: block[0] if block[1].startswith("{") else "",
        FRONT.sub("", text, count=1),
        flags=re.DOTALL | re.MULTILINE,
    )
    prose = " ".join(prose.split())
    for phrase in DEFINED:
        prose = prose.replace(phrase, "")
    return [found[0] for found in NUMBER.finditer(prose)]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_front_matter_is_yaml_with_text_as_values(page):
    found = front_matter(page.read_text())
    assert isinstance(found, dict)
    assert [value for value in found.values() if not isinstance(value, str)] == []


@pytest.mark.parametrize("page", SITE, ids=lambda page: page.stem)
def test_page_with_numbers_says_when_and_with_which_revision_they_were_measured(page):
    text = page.read_text()
    declared = measured.parse(front_matter(text).get(measured.KEY, measured.NOTHING))
    assert all(one.day <= date.today() for one in declared)
    if not declared:
        assert numbers(text) == [], f"begin the page with measured: ({measured.__doc__})"


@pytest.mark.parametrize(
    "text",
    [
        "it takes 3 GB",
        "2.5 K warmer",
        "loses 4 % of it",
        "1.6 times as\nfast",
        "three times as many",
        "twice as large",
        "after 0.2 to 7.4 days",
        "died after four\nweeks",
        "```{glossary}\nstep\n    took 7 ms\n```",
        "---\nmeasured: nothing\n---\n\n12 SYPD",
    ],
)
def test_number_that_looks_measured_is_found(text):
    assert len(numbers(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "runs of 10 days or more",
        "fewer than 10 days",
        "a gradient above 10 K/km",
        "a step of 1200 s",
        "trained three times",
        "```sh\nsleep 5 s\n```",
        "---\nmeasured: 2026-11-23 at 5a404de (5 s)\n---\n",
    ],
)
def test_setting_or_definition_is_not_taken_for_a_measured_number(text):
    assert numbers(text) == []


def test_revisions_that_were_measured_are_those_of_this_history():
    declared = [front_matter(page.read_text()).get(measured.KEY, measured.NOTHING) for page in SITE]
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
    assert [x for x in pasted_lines(page) if len(x) > command_reference.WIDTH] == []


@pytest.mark.parametrize("program", ["climsim", "python", "make", "pip"])
def test_block_without_a_language_holds_commands_where_one_begins_like_a_program(program, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"```\n{program} a \\\n    b\n```\n\n```\nmaker of x\n```\n")
    assert list(pasted_lines(page)) == [f"{program} a \\", "    b"]


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
