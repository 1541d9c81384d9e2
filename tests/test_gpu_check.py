"""The device check: what a CPU can say about its order and its measures."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch

import climsim.online.budget
import gpu_check
from climsim.variables import OUTPUTS
from gpu_host import mode_after
from gpu_networks import LEVELS, differences
from gpu_parts import Setting, parts, rules


class UnstartedThread:
    """Stands for the thread that reads what a part writes."""

    def __init__(self, **settings):
        pass

    def start(self):
        pass


def test_embedded_model_prepares_before_the_other_parts_start(tmp_path, monkeypatch):
    calls = parts(("T10", "T21"), (1, 16))
    leading = [name for name, call in calls.items() if call.leading]
    assert leading == ["machine", "rules", "host T10", "hybrid T10 16"] == list(calls)[:4]
    monkeypatch.setattr(gpu_check.subprocess, "Popen", lambda command, **_: command[2])
    monkeypatch.setattr(gpu_check.threading, "Thread", UnstartedThread)
    setting = Setting("cuda", str(tmp_path), str(tmp_path))
    check = gpu_check.Check(calls, setting, tmp_path, side_by_side=6, seconds=480.0)
    check._start_more()
    assert [part.name for part in check._parts] == leading
    for part in check._parts:
        part.enter("waiting")
    check._start_more()
    assert len(check._parts) == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_the_parts_and_saves_what_was_measured(tmp_path, monkeypatch, number):
    def start(check):
        code = "import time; time.sleep(60)"
        process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        check._parts.append(gpu_check.Part("long", process))
        os.kill(os.getpid(), number)

    monkeypatch.setattr(gpu_check.Check, "_start_more", start)
    setting = Setting("cpu", str(tmp_path), str(tmp_path))
    check = gpu_check.Check(parts(("T10",), (1,)), setting, tmp_path, side_by_side=6, seconds=60.0)
    with pytest.raises(KeyboardInterrupt):
        check.run()
    assert check._parts[0].process.wait(10) == -signal.SIGKILL
    saved = json.loads((tmp_path / "gpu_check.json").read_text())
    assert saved["parts"]["long"]["state"] == "no time left"


def test_budgets_of_the_device_are_compared_with_the_size_of_their_terms(monkeypatch):
    exact, calls = climsim.online.budget.step_budgets, []

    def rounded(*arguments):
        calls.append(arguments)
        found = exact(*arguments)
        # The second call is the one on the device: rounding of its own.
        return {n: x + 1e-14 for n, x in found.items()} if len(calls) == 2 else found

    monkeypatch.setattr(climsim.online.budget, "step_budgets", rounded)
    steps = (step for step in rules(Setting("cpu", "", "")) if step is not None)
    values = next(values for _, kind, values in steps if kind == "budgets")
    assert 0.0 < values["largest relative difference"] < values["limit"]


def test_waits_are_counted_in_hybrid_steps_of_the_measured_run_alone():
    modes = [mode_after(done, 36) for done in range(1, 37)]
    assert [done for done, mode in enumerate(modes, 1) if mode == "warn"] == list(range(3, 10))
    # A trial of three steps leaves no mode behind for what follows it.
    assert {mode_after(done, 3) for done in (1, 2, 3)} == {"default"}


def test_difference_between_devices_names_the_variable_that_is_farthest_off():
    levels = LEVELS
    expected = torch.ones(4, OUTPUTS.size(levels))
    found = expected.clone()
    place = OUTPUTS.slices(levels)["cam_out_PRECC"]
    expected[:, place] = torch.tensor([[3.0], [3.0], [4.0], [4.0]])
    found[:, place] = expected[:, place] + torch.tensor([[0.0], [0.0], [0.0], [2.0]])
    values = differences("tf32", expected, found)
    # A difference of 2 in one of four values of 3 or 4: sqrt(4 / 4) over sqrt(50 / 4).
    assert values["tf32, r.m.s. from CPU"] == pytest.approx(1.0 / 12.5**0.5)
    assert values["tf32, variable"] == "cam_out_PRECC"
    assert values["tf32, largest from CPU"] == pytest.approx(0.5)
