"""Two threads: what a step did is kept while the next one is under way."""

import threading
import time

import numpy as np
import pytest

from climsim.errors import ClimSimError
from climsim.online import stepper
from climsim.online.history import HistoryWriter
from climsim.online.run import run_online
from climsim.parallel import Background
from climsim.runs.record import RunRecord
from tests.online.test_run import Confident, assert_equal_files, config, coupled
from tests.online.toy_host import ToyHost, kill_a_run


class Overwriting(ToyHost):
    """Spoils, in a step, the fields that it gave in the one before."""

    given = None

    def _advance(self, tendencies, surface, diagnostics):
        result = super()._advance(tendencies, surface, diagnostics)
        if self.given is not None:
            for fields in (self.given.inputs, self.given.diagnostics):
                for values in fields.values():
                    values[...] = np.nan
        self.given = result
        return result


def numbers_of_run(record):
    """Everything in a record that does not name the folder or the number of threads."""
    kept = {"status", "steps", "date", "daily", "budget_sums", "corrections", "warnings"}
    return {name: x for name, x in record.to_dict().items() if name in kept}


def test_two_threads_keep_the_same_history_and_record_as_one(tmp_path, monkeypatch):
    records = [
        coupled(
            monkeypatch,
            Confident(Overwriting()),
            tmp_path / f"{threads}",
            threads=threads,
            days=1.5,
        )
        for threads in (1, 2)
    ]
    assert_equal_files(tmp_path / "1", tmp_path / "2")
    first, second = (numbers_of_run(record) for record in records)
    assert first == second
    assert first["steps"] == 108
    assert [record.timing.beside > 0 for record in records] == [False, True]


def test_kept_steps_are_whole_after_a_kill(tmp_path):
    run_online(config(tmp_path / "whole", days=2), host=ToyHost())
    parts = config(tmp_path / "parts", days=2, threads=2, restart_days=0.5)
    kill_a_run(parts, 100)
    record = run_online(parts, host=ToyHost())
    assert (record.status, record.steps) == ("complete", 144)
    assert_equal_files(tmp_path / "whole", tmp_path / "parts")
    assert numbers_of_run(record) == numbers_of_run(RunRecord.open(tmp_path / "whole"))


def test_instability_ends_with_every_step_before_it_kept(tmp_path):
    records = [
        run_online(config(tmp_path / f"{threads}", threads=threads), host=ToyHost(bad_at_step=75))
        for threads in (1, 2)
    ]
    assert records[1].status == "unstable"
    assert numbers_of_run(records[0]) == numbers_of_run(records[1])
    assert_equal_files(tmp_path / "1", tmp_path / "2")


def test_history_that_cannot_be_written_ends_the_run_with_its_message(tmp_path, monkeypatch):
    original = HistoryWriter.add

    def add(self, fields, start, *others):
        assert threading.current_thread().name.startswith("history")
        if start.hour >= 5:
            raise ClimSimError("history: no space left on the device")
        original(self, fields, start, *others)

    with monkeypatch.context() as patched:
        patched.setattr(HistoryWriter, "add", add)
        with pytest.raises(ClimSimError, match="no space left"):
            run_online(config(tmp_path, days=1, threads=2), host=ToyHost())
    record = RunRecord.open(tmp_path)
    assert (record.status, record.message) == ("failed", "history: no space left on the device")
    assert record.steps == 15
    assert run_online(config(tmp_path, days=1, threads=2), host=ToyHost()).steps == 72


def test_background_calls_come_in_order_and_the_caller_waits_for_the_oldest():
    background, done = Background("test", most_waiting=2), []

    def call(number):
        time.sleep(0.01)
        done.append(number)

    for number in range(6):
        background.submit(lambda number=number: call(number))
        assert len(done) >= number - 1
    background.settle()
    assert done == list(range(6))
    background.close()


def test_background_error_comes_at_the_next_call_and_close_drops_it():
    background = Background("test", most_waiting=1)
    background.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        background.submit(lambda: None)
    background.submit(lambda: 1 / 0)
    background.close()


def test_background_call_that_is_held_waits_for_its_begin():
    background, done = Background("test", most_waiting=1), []
    background.hold(lambda: done.append(1))
    time.sleep(0.02)
    assert done == []
    background.begin()
    background.begin()
    background.hold(lambda: done.append(2))
    background.hold(lambda: done.append(3))
    background.settle()
    assert done == [1, 2, 3]
    background.hold(lambda: done.append(4))
    background.close()
    assert done == [1, 2, 3, 4]


def test_background_call_that_is_held_is_dropped_after_one_that_failed():
    background, done = Background("test", most_waiting=1), []
    background.submit(lambda: 1 / 0)
    background.hold(lambda: done.append(1))
    background.close()
    assert done == []


def test_a_step_is_kept_while_the_network_of_the_next_one_computes(tmp_path, monkeypatch):
    host, kept, not_kept = ToyHost(), [], []
    add, assemble = HistoryWriter.add, stepper.assemble

    def add_beside(self, *arguments):
        kept.append(threading.current_thread())
        add(self, *arguments)

    def assemble_slowly(*arguments):
        time.sleep(0.02)
        not_kept.append(host.step_number - len(kept))
        return assemble(*arguments)

    monkeypatch.setattr(HistoryWriter, "add", add_beside)
    monkeypatch.setattr(stepper, "assemble", assemble_slowly)
    record = coupled(monkeypatch, Confident(host), tmp_path / "run", threads=2, days=0.2)
    assert min(not_kept) == 1
    assert len(kept) == record.steps == 14
