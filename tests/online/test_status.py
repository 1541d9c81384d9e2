"""The overview of runs: running, stopped, complete, unstable, and how long they still take."""

import pytest

from climsim.errors import ClimSimError
from climsim.online.record import RunRecord
from climsim.online.run import RunConfig, run_online
from climsim.online.status import experiment_status, status_rows, summarize

from .toy_host import ToyHost, kill_a_run


def config(folder, **changes):
    return RunConfig(case=folder.name, folder=folder, days=2, host="toy", **changes)


def test_overview_shows_each_ending(tmp_path):
    run_online(config(tmp_path / "good"), host=ToyHost())
    run_online(config(tmp_path / "bad"), host=ToyHost(bad_at_step=80))
    (tmp_path / "raw" / ".generate").mkdir(parents=True)
    (tmp_path / "raw" / ".generate" / "record.json").write_text("{}")  # of generated data
    runs = {r.case: r for r in experiment_status(tmp_path)}
    assert set(runs) == {"good", "bad"}
    assert (runs["good"].status, runs["good"].days, runs["good"].health) == ("complete", 2.0, "")
    assert runs["bad"].status == "unstable"
    assert "unstable after 1.12 days: T = 511.5 in column 2, level 3" in runs["bad"].health
    header, *rows = status_rows(list(runs.values()))
    assert len(header) == len(rows[0]) == len(rows[1])


def test_run_that_was_killed_is_shown_as_stopped(tmp_path):
    kill_a_run(config(tmp_path), 100)
    summary = summarize(tmp_path)
    assert (summary.status, summary.days, summary.seconds_left) == ("stopped", 1.0, None)


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


def test_folder_without_runs_is_named(tmp_path):
    with pytest.raises(ClimSimError, match=r"holds no record\.json"):
        experiment_status(tmp_path)
