"""Checking raw files: every kind of problem is found, counted and named."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest

from climsim.calendar import seconds_of, to_date
from climsim.data.raw.check import KINDS, check
from climsim.data.raw.config import CheckConfig
from climsim.data.raw.missing import find_missing
from climsim.data.raw.ranges import RANGES
from climsim.data.raw.steps import INPUT_VARIABLES, OUTPUT_VARIABLES, list_steps
from climsim.errors import ClimSimError
from tests.data.synthetic import START, STEP, write_record


@pytest.fixture
def raw(tmp_path):
    write_record(tmp_path / "raw", 8)
    return tmp_path / "raw"


def counts(folder, **changes):
    report = check(CheckConfig(folder, workers=1, **changes))
    return dict(sum((m.counts for m in report.months), Counter())), report


def change(path, name, index, value):
    with netCDF4.Dataset(path, "a") as file:
        file.set_auto_maskandscale(False)
        file[name][index] = value


def test_sound_files_have_no_finding(raw):
    found, report = counts(raw)
    assert found == {}
    assert report.ok
    assert [m.steps for m in report.months] == [8]
    assert "no problem found" in str(report)


def test_every_raw_variable_has_a_range():
    assert set(RANGES) == set(INPUT_VARIABLES) | set(OUTPUT_VARIABLES)


def test_ranges_hold_the_extremes_of_e3sm(shared):

    path = shared / "reference_data/e3sm_mmf_statistics.csv"
    table = pd.read_csv(path)
    for name, rows in table.groupby("variable"):
        if name in RANGES and name != "cam_in_SNOWHICE":
            low, high = RANGES[name]
            assert rows["minimum"].min() >= low, name
            assert rows["maximum"].max() <= high, name


def test_each_kind_of_damage_is_found(raw):
    files = list_steps(raw)
    files[1].after.write_bytes(files[1].after.read_bytes()[:-500])
    files[2].before.write_bytes(b"nothing")
    change(files[3].before, "state_u", (1, 2), np.nan)
    change(files[4].before, "state_t", (3, 4), 9000.0)
    change(files[5].after, "cam_out_PRECC", 2, 1e30)
    change(files[6].before, "tod", ..., 77)
    files[7].after.unlink()
    files[0].before.unlink()
    files[0].after.unlink()
    (raw / "copy").mkdir()
    (raw / "copy" / files[4].after.name).write_bytes(files[4].after.read_bytes())
    found, report = counts(raw)
    assert found == {
        "truncated": 1, "unreadable": 1, "nan": 1, "range": 1, "fill": 1, "date": 1,
        "unpaired": 1, "duplicate": 1,
    }  # fmt: skip
    assert not report.ok
    text = str(report)
    assert "state_t has 1 implausible values, such as 9000" in text
    assert files[1].after.name in text


def test_every_problem_of_a_file_counts(raw):
    path = list_steps(raw)[3].before
    change(path, "state_u", (1, 2), np.nan)
    change(path, "state_u", (2, 2), 900.0)
    change(path, "state_v", (1, 2), 1e30)
    change(path, "state_t", (3, 4), 9000.0)
    change(path, "pbuf_TAUX", 1, -99.0)
    change(path, "tod", ..., 77)
    with netCDF4.Dataset(path, "a") as file:
        file.renameVariable("pbuf_CH4", "pbuf_CHX")
        file.calendar = "gregorian"
    found, report = counts(raw)
    assert found == {"date": 2, "variable": 1, "nan": 1, "fill": 1, "range": 3}
    for text in ("state_u has 1 implausible values, such as 900", "pbuf_CH4 is missing", "tod=77"):
        assert text in str(report)


def test_names_without_a_date_of_the_calendar_are_findings_of_their_months(raw, tmp_path):
    names = ("0004-02/E3SM-MMF.mli.0004-02-29-00000.nc", "noisy/E3SM-MMF.mlo.11000-01-30-01200.nc")
    for name in names:
        (raw / name).parent.mkdir()
        (raw / name).touch()
    found, report = counts(raw, out=tmp_path / "report.json")
    assert found == {"date": 2}
    months = json.loads((tmp_path / "report.json").read_text())["months"]
    assert [(m["month"], m["date"]) for m in months] == [
        ("0001-02", 0), ("0004-02", 1), ("11000-01", 1),
    ]  # fmt: skip
    for text in ("no day 0004-02-29 in the noleap calendar", "found 11000-01-30-01200: rename"):
        assert text in str(report)


def test_a_record_without_one_right_name_is_refused_by_the_first(raw):
    for path in raw.glob("*/*.nc"):
        path.rename(path.with_name(path.name.replace(".0001-", ".10001-")))
    with pytest.raises(ClimSimError, match=r"expected a date .* found 10001-02-27-00000"):
        counts(raw)


def test_the_whole_variables_of_a_cut_file_are_looked_at(raw):
    path = list_steps(raw)[3].before
    change(path, "state_t", (3, 4), 9000.0)
    path.write_bytes(path.read_bytes()[:-40])
    assert counts(raw)[0] == {"truncated": 1, "range": 1}


def test_missing_steps_are_listed_by_date(raw):
    for index in (2, 3):
        step = list_steps(raw)[2]
        step.before.unlink()
        step.after.unlink()
        del index
    found, report = counts(raw)
    assert found == {"missing": 2}
    assert "no file for the step 0001-02-27 00:40:00" in str(report)


def test_stride_says_which_steps_should_be_there(tmp_path):
    write_record(tmp_path / "raw", [0, 7, 21])
    found, _ = counts(tmp_path / "raw", stride=7)
    assert found == {"missing": 1}


def test_what_lies_between_the_dates_of_members_is_not_missing(tmp_path):
    for number, year in ((1, 1), (2, 3)):
        write_record(tmp_path / f"raw/member-0{number}", [0, 1, 3, 4], start=seconds_of(year, 7, 1))
    found, report = counts(tmp_path / "raw")
    assert found == {"missing": 2}
    assert "no file for the step 0003-07-01 00:40:00" in str(report)
    assert [(m.month, m.steps) for m in report.months] == [("0001-07", 4), ("0003-07", 4)]


def test_runs_of_a_folder_are_told_by_their_pause_and_by_their_own_distance(tmp_path):
    raw = tmp_path / "raw"
    write_record(raw, 4)
    for year in (1001, 1003):
        write_record(raw, [0, 2, 4, 8], start=seconds_of(year, 1, 1))
    write_record(raw / "noisy", [0, 35, 105, 140], start=seconds_of(9001, 2, 27))
    found, report = counts(raw)
    assert found == {"missing": 3}
    for step in ("1001-01-01 02:00", "1003-01-01 02:00", "9001-02-27 23:20"):
        assert f"no file for the step {step}" in str(report)
    assert ".: steps lie 2400 s apart, not 1200 s" in str(report)
    assert "noisy: steps lie 42000 s apart, not 1200 s" in str(report)


def files_at(seconds, folder="raw/train"):
    """Names of step files, each in the folder of its month."""
    for second in map(int, seconds):
        date = to_date(second)
        yield Path(folder, f"{date.year:04d}-{date.month:02d}", "mli.nc"), second


def test_a_month_that_is_not_there_is_missing_whole():
    # Eight years, as published, of every third step.
    every = np.arange(seconds_of(1, 2, 1), seconds_of(9, 2, 1), 3 * STEP)
    lost = (every >= seconds_of(4, 5, 1)) & (every < seconds_of(4, 6, 1))
    lost |= (every >= seconds_of(6, 1, 1)) & (every < seconds_of(6, 12, 1))
    missing = find_missing(files_at(every[~lost]), [Path("raw")], 3 * STEP)
    np.testing.assert_array_equal(missing.seconds, every[lost])
    assert missing.notes == ()


def test_steps_that_lie_in_another_folder_are_not_missing():
    every = np.arange(START, START + 100 * STEP, STEP)
    part = np.arange(every.size) % 7 < 3
    files = [*files_at(every[part], "raw/one"), *files_at(every[~part], "raw/two")]
    assert find_missing(files, [Path("raw")], STEP).seconds.tolist() == []
    files = files_at(every[every != every[5]], "raw/one/0001/02")
    assert find_missing(files, [Path("raw")], STEP).seconds.tolist() == [every[5]]


def test_most_steps_may_be_missing_where_some_show_the_distance():
    seconds = START + STEP * np.array([0, 1, 3, 5, 7, 9])
    missing = find_missing(files_at(seconds), [Path("raw")], STEP)
    assert ((missing.seconds - START) // STEP).tolist() == [2, 4, 6, 8]


def test_months_are_reported_apart(tmp_path):
    write_record(tmp_path / "raw", range(140, 150))
    _, report = counts(tmp_path / "raw")
    assert [(m.month, m.steps) for m in report.months] == [("0001-02", 4), ("0001-03", 6)]
    assert list_steps(tmp_path / "raw")[4].seconds == START + 144 * STEP


def test_other_grid_is_found(raw, tmp_path):
    from climsim.data.raw.steps import write_grid_info
    from tests.grids import make_grid

    write_grid_info(tmp_path / "grid.nc", make_grid(levels=6), "synthetic")
    found, _ = counts(raw, grid=tmp_path / "grid.nc")
    assert found == {"shape": 16}


def test_report_file_is_machine_readable(raw, tmp_path):
    list_steps(raw)[3].after.unlink()
    counts(raw, out=tmp_path / "report.json")
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["ok"] is False
    assert document["months"][0]["unpaired"] == 1
    assert set(KINDS) <= set(document["months"][0])
    assert "git_revision" in document


def test_several_processes_find_the_same(raw):
    list_steps(raw)[3].after.write_bytes(b"CDF")
    one, many = (check(CheckConfig(raw, workers=w)) for w in (1, 2))
    assert one.table() == many.table()


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(ClimSimError, match="no step files"):
        check(CheckConfig(tmp_path))
    with pytest.raises(ClimSimError, match=r"stride: .*found 0"):
        CheckConfig(tmp_path, stride=0)


def test_command_line_prints_the_table_and_ends_with_one(raw, capsys):
    from climsim.cli import main

    for damaged, code in ((False, 0), (True, 1)):
        if damaged:
            list_steps(raw)[1].after.unlink()
        with pytest.raises(SystemExit) as ended:
            main(["data", "check", f"raw={raw}", "workers=1"])
        assert ended.value.code == code
        assert "unpaired" in capsys.readouterr().out
