"""The overview of runs: running, stopped, complete, unstable, and how long they still take."""

import io
import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from climsim.cli import main_group
from climsim.console import terminal_table
from climsim.errors import ClimSimError
from climsim.online.run import RunConfig, run_online
from climsim.online.status import runs_below, status_rows, summarize
from climsim.runs.record import RunRecord
from tests.online.toy_host import ToyHost, kill_a_run


def config(folder, **changes):
    return RunConfig(case=folder.name, folder=folder, days=2, host="toy", **changes)


def test_overview_shows_each_ending(tmp_path):
    run_online(config(tmp_path / "good"), host=ToyHost())
    run_online(config(tmp_path / "bad"), host=ToyHost(bad_at_step=80))
    (tmp_path / "raw" / ".generate").mkdir(parents=True)
    (tmp_path / "raw" / ".generate" / "record.json").write_text("{}")  # of generated data
    runs = {r.case: r for r in runs_below(tmp_path)}
    assert set(runs) == {"good", "bad"}
    assert (runs["good"].status, runs["good"].days, runs["good"].health) == ("complete", 2.0, "")
    assert runs["bad"].status == "unstable"
    assert "unstable after 1.12 days: T = 511.5 in column 2, level 3" in runs["bad"].health
    header, *rows = status_rows(list(runs.values()))
    assert len(header) == len(rows[0]) == len(rows[1])
    shown = CliRunner().invoke(main_group, ["online", "status", str(tmp_path)]).output
    case, health = runs["bad"].case, runs["bad"].health
    assert f"\n{case}: {health}\n" in shown


def test_table_keeps_long_names_whole_on_a_narrow_terminal():
    name = "squeezeformer-multirep-1024"
    rows = [("case", "status", "days"), (name, "unstable", "7.4/10")]
    terminal = Console(width=56, file=io.StringIO())
    terminal.print(terminal_table(rows))
    assert name in terminal.file.getvalue()


def test_run_that_was_killed_is_shown_as_stopped(tmp_path):
    kill_a_run(config(tmp_path), 100)
    summary = summarize(tmp_path)
    assert (summary.status, summary.days, summary.seconds_left) == ("stopped", 1.0, None)


def test_run_whose_record_could_not_be_completed_is_shown_as_stopped(tmp_path):
    kill_a_run(config(tmp_path), 100)
    (tmp_path / ".lock").unlink()
    assert summarize(tmp_path).status == "stopped"
    (tmp_path / "case.json").write_text("{}")  # of a climate model in batch, which holds no lock
    assert summarize(tmp_path).status == "running"


def test_run_on_its_way_shows_the_time_left(tmp_path):
    seen = []

    class Watched(ToyHost):
        def step_physics(self):
            if self.step_number == 80:
                seen.append(summarize(tmp_path))
            return super().step_physics()

    run_online(config(tmp_path), host=Watched())
    (summary,) = seen
    record = RunRecord.open(tmp_path)
    assert summary.status == "running"
    assert 0 < summary.seconds_left == pytest.approx(86400 / 365 / summary.sypd)
    assert record.status == "complete"


def test_overview_can_be_read_as_json(tmp_path):
    run_online(config(tmp_path / "good"), host=ToyHost())
    shown = CliRunner().invoke(main_group, ["online", "status", str(tmp_path), "--json"])
    (run,) = json.loads(shown.output)
    assert (run["case"], run["status"], run["days"]) == ("good", "complete", 2.0)
    assert run["seconds_left"] is None


@pytest.mark.parametrize("folder", ["", "s3://bucket/runs"])
def test_folder_that_is_no_path_of_this_machine_is_refused(folder):
    result = CliRunner().invoke(main_group, ["online", "status", folder])
    assert isinstance(result.exception, ClimSimError)
    assert str(result.exception).startswith("folder: expected a path")


def test_folder_without_runs_is_named(tmp_path):
    with pytest.raises(ClimSimError, match=r"holds no record\.json"):
        runs_below(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected JSON"),
        ("[]", "expected the record of a run"),
        ('{"case": "x"}', "expected the record of a run"),
        (None, "expected the record of a run"),
    ],
)
def test_damaged_record_is_a_row_of_its_own_and_hides_no_other_run(tmp_path, text, reason):
    run_online(config(tmp_path / "good"), host=ToyHost())
    run_online(config(tmp_path / "bad"), host=ToyHost())
    path = tmp_path / "bad" / "record.json"
    of_text = path.read_text().replace('"dt": 1200.0', '"dt": "1200 s"')
    path.write_text(of_text if text is None else text)
    runs = {r.case: r for r in runs_below(tmp_path)}
    assert (runs["good"].status, runs["bad"].status) == ("complete", "damaged")
    assert str(path) in runs["bad"].health
    assert reason in runs["bad"].health
    result = CliRunner().invoke(main_group, ["online", "status", str(tmp_path)])
    assert result.exit_code == 0
    assert "good" in result.output


def test_runs_in_folders_named_like_restart_points_are_shown(tmp_path):
    for name in ("restart_from_march", "step-two", "restart"):
        run_online(config(tmp_path / name), host=ToyHost())
    shown = [run.folder.name for run in runs_below(tmp_path)]
    assert shown == ["restart", "restart_from_march", "step-two"]
