"""The study on one card: how members are split, and the learning rate that follows the clock."""

import pytest

import gpu_study
import gpu_study_schedule
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
