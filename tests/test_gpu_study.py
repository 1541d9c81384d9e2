"""The study on one card: its members, the learning rate that follows the clock, interrupts."""

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import gpu_study
import gpu_study_schedule
from climsim.interrupts import on_interrupt
from climsim.training.config import ScheduleConfig


def test_last_members_are_held_out_whole_with_all_their_years(tmp_path):
    for number, year in enumerate((3, 5, 7, 9, 11, 13), start=1):
        for month in (f"{year:04d}-12", f"{year + 1:04d}-01"):
            (tmp_path / f"member-{number:02d}" / month).mkdir(parents=True)
    assert gpu_study.splits(tmp_path) == (
        "split.gap_days=0",
        "split.train=0003-01/0006-12",
        "split.validation=0007-01/0010-12",
        "split.test=0011-01/0014-12",
    )


def test_rate_rises_from_the_first_step_and_is_low_at_the_end(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(gpu_study_schedule.time, "time", lambda: now[0])
    monkeypatch.setenv("STUDY_END", "1100")
    schedule = gpu_study_schedule.ByClock(ScheduleConfig())
    factors = []
    for second in (0.0, 1.0, 2.0, 51.0, 100.0, 130.0):
        now[0] = 1000.0 + second
        factors.append(schedule.factor(0.0, 1))
    assert 0.0 < factors[0] < 0.1
    assert factors[1] == pytest.approx(0.524, abs=1e-3)
    assert factors[2] == pytest.approx(0.999, abs=1e-3)
    assert factors[3] == pytest.approx(0.489, abs=1e-2)
    assert factors[4] == factors[5] == pytest.approx(0.01)


def test_parts_of_a_large_file_are_its_bytes_in_order(tmp_path):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(bytes(range(100)))
    gpu_study.split(path, 40)
    parts = sorted(tmp_path.iterdir())
    assert [part.stat().st_size for part in parts] == [40, 40, 20]
    assert b"".join(part.read_bytes() for part in parts) == bytes(range(100))


def test_an_interrupt_stops_every_stage_that_runs_and_starts_no_other(tmp_path):
    options = gpu_study.argparse.Namespace()
    study = gpu_study.Study(tmp_path, tmp_path, time.time(), 60.0, options)
    sleeper = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    logs = [tmp_path / "a.log", tmp_path / "b.log"]

    def stage(log):
        study.run(log.stem, [sys.executable, "-c", sleeper], study.begin + 50.0)

    def interrupt():
        while not all(log.exists() and log.read_text().endswith("\n") for log in logs):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt).start()
    with (
        pytest.raises(KeyboardInterrupt),
        on_interrupt(study.processes.stop),
        ThreadPoolExecutor(2) as pool,
    ):
        list(pool.map(stage, logs))
    for log in logs:
        with pytest.raises(ProcessLookupError):
            os.kill(int(log.read_text()), 0)
    with pytest.raises(KeyboardInterrupt):
        study.run("c", [sys.executable, "-c", sleeper], study.begin + 50.0)
    assert (tmp_path / "c.log").read_text() == ""
    assert time.time() - study.begin < 40.0


def test_a_stage_is_cut_off_at_its_deadline(tmp_path, capsys):
    study = gpu_study.Study(tmp_path, tmp_path, time.time(), 60.0, gpu_study.argparse.Namespace())
    code = "import time; print('so far', flush=True); time.sleep(60)"
    assert not study.run("slow", [sys.executable, "-c", code], study.begin + 1.0)
    assert "slow: cut off; so far" in capsys.readouterr().out
