"""Ensembles: members side by side in processes, on a host that a user wrote in one file."""

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from climsim.cli import main
from climsim.errors import ClimSimError
from climsim.interfaces import V2
from climsim.online.config import EnsembleConfig
from climsim.online.ensemble import _run_member, run_ensemble
from climsim.online.run import RunConfig, run_online
from climsim.runs.record import RunRecord
from climsim.variables import OUTPUTS

HOST = f"{Path(__file__).with_name('one_file_host.py')}:build_host"


class Steady(torch.nn.Module):
    """Made without this project: warms everything evenly."""

    def __init__(self, outputs: int, warmth: float):
        super().__init__()
        self.outputs: int = outputs
        self.warmth: float = warmth

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = torch.zeros(x.shape[0], self.outputs)
        if x.shape[1] != 557:
            raise RuntimeError("another interface")
        result[:, :60] = self.warmth
        return result


def model(folder, name, warmth):
    path = folder / f"{name}.pt"
    torch.jit.save(torch.jit.script(Steady(OUTPUTS.size(), warmth).eval()), str(path))
    assert V2.variables.size() == 557
    return path


def config(folder, **changes):
    values = {"case": "room", "folder": folder, "days": 0.5, "host": HOST, "parallel": 2}
    return EnsembleConfig(**(values | changes))


def mean_temperature(folder):
    (path,) = folder.glob("*.eam.h0.*.nc")
    with xr.open_dataset(path) as data:
        return data["T"].values


def test_host_of_one_file_runs_with_history_record_and_restart(tmp_path):
    whole = RunConfig(case="room", folder=tmp_path / "whole", days=1.5, host=HOST)
    record = run_online(whole)
    assert (record.status, record.steps, record.about.host) == ("complete", 108, "room")
    parts = RunConfig(case="room", folder=tmp_path / "parts", days=0.7, host=HOST)
    run_online(parts)
    again = run_online(RunConfig(case="room", folder=tmp_path / "parts", days=1.5, host=HOST))
    assert again.steps == 108
    np.testing.assert_array_equal(
        mean_temperature(tmp_path / "parts"), mean_temperature(tmp_path / "whole")
    )
    warmed = 280.0 + 1e-6 * 1200 * np.arange(108).mean()
    np.testing.assert_allclose(mean_temperature(tmp_path / "whole"), warmed, rtol=1e-6)


def test_settings_reach_the_host_of_a_file(tmp_path):
    run = RunConfig(
        case="room", folder=tmp_path, days=0.5, host=HOST, host_options={"warmth": 5e-2}
    )
    record = run_online(run)
    assert record.status == "unstable"
    assert record.health.instability.variable == "T"


def test_file_without_the_host_is_named(tmp_path):
    with pytest.raises(ClimSimError, match=r"one_file_host\.py.*expected the host 'Flat'"):
        run_online(RunConfig("x", tmp_path, 1, host=HOST.replace("build_host", "Flat")))


def test_object_of_a_file_that_builds_no_host_is_refused(tmp_path):
    host = f"{HOST.partition(':')[0]}:LEVELS"
    with pytest.raises(ClimSimError, match=r"LEVELS': expected a function that builds a host.*int"):
        run_online(RunConfig(case="a", folder=tmp_path, days=1, host=host))


def test_members_are_every_model_from_every_start(tmp_path):
    models = [model(tmp_path, "cold", -1e-6), model(tmp_path, "warm", 1e-6)]
    whole = config(tmp_path / "all", models=models, seeds=(3, 4))
    seen = []
    report = run_ensemble(whole, lambda *p: seen.append(p))
    assert str(report) == "4 members: 4 complete"
    names = ["room-cold-3", "room-cold-4", "room-warm-3", "room-warm-4"]
    assert [record.case for record in report.records] == names
    cold, other, warm, _ = (mean_temperature(tmp_path / "all" / name) for name in names)
    assert (warm > cold).all()
    assert not np.array_equal(cold, other)
    assert seen[-1] == (4 * 36, 4 * 36)
    alone = RunConfig(
        case="alone", folder=tmp_path / "alone", days=0.5, host=HOST, model=models[0],
        perturbation_seed=3,
    )  # fmt: skip
    run_online(alone)
    np.testing.assert_array_equal(mean_temperature(tmp_path / "alone"), cold)


@pytest.mark.parametrize("key", ["model", "start", "models", "starts"])
def test_file_that_is_not_there_is_refused_before_any_member_begins(tmp_path, key):
    missing = tmp_path / "none"
    values = {key: (missing,) if key.endswith("s") else missing}
    with pytest.raises(ClimSimError, match=r"^(model|start): .*none: no such file or folder"):
        run_ensemble(config(tmp_path / "all", **values))
    assert not (tmp_path / "all").exists()


def test_one_start_by_two_paths_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"start")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ClimSimError, match=r"starts=.*b: expected another place than starts=.*a"):
        config(tmp_path / "all", starts=(tmp_path / "a", tmp_path / "b"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("return None", "expected its function to return a host, found NoneType without name"),
        ("del room.grid; return room", "found Room without grid: see climsim.hosts.base"),
        (
            "inputs = room.inputs; room.inputs = lambda: "
            "{k: x for k, x in inputs().items() if k != 'state_q0001'}; return room",
            "host room: expected its inputs to hold state_q0001, found none",
        ),
    ],
)
def test_host_that_gives_less_than_it_promises_is_refused_in_one_line(
    tmp_path, capsys, change, message
):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from runpy import run_path\n"
        "def build_host(options):\n"
        f"    room = run_path({HOST.partition(':')[0]!r})['build_host'](options)\n"
        f"    {change}\n"
    )
    words = ["online", "run", "case=a", f"folder={tmp_path / 'a'}", "days=0.1"]
    with pytest.raises(SystemExit):
        main([*words, f"host={mine}:build_host"])
    messages = " ".join(capsys.readouterr().err.split())
    assert message in messages
    assert "unexpected" not in messages


@pytest.mark.parametrize(
    "words",
    [
        ["data", "generate", "raw=raw", "days=0.1", "humidity_noise=0.1"],
        ["evaluate", "damping", "models=[m.pt]", "out=d.nc"],
    ],
)
def test_host_without_an_argument_for_noise_is_refused_by_name(
    tmp_path, monkeypatch, capsys, words
):
    monkeypatch.chdir(tmp_path)
    model(tmp_path, "m", 0.0)
    with pytest.raises(SystemExit):
        main([*words, f"host={HOST}"])
    messages = " ".join(capsys.readouterr().err.split())
    assert "host room: expected its perturb to take humidity" in messages


def test_warnings_of_members_look_like_those_of_one_run(tmp_path):
    """Each member has a process of its own, whose log is to be set up like that of the command."""
    wordy = tmp_path / "wordy.py"
    wordy.write_text(
        "import logging\n"
        f"from runpy import run_path\n"
        "def build_host(options):\n"
        "    logging.getLogger('climsim').warning('it is warm')\n"
        "    logging.getLogger('climsim').info('a detail')\n"
        f"    return run_path({HOST.partition(':')[0]!r})['build_host'](options)\n"
    )
    words = ["online", "ensemble", "--quiet", "case=room", f"folder={tmp_path / 'all'}", "days=0.1"]
    words += [f"host={wordy}:build_host", "seeds=[1,2]"]
    done = subprocess.run(
        [sys.executable, "-m", "climsim", *words], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == ["WARNING  it is warm"] * 2


def test_second_call_does_nothing_and_more_days_continue(tmp_path):
    run_ensemble(config(tmp_path, seeds=(1, 2)))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nc")}
    run_ensemble(config(tmp_path, seeds=(1, 2)))
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nc")} == before
    report = run_ensemble(config(tmp_path, seeds=(1, 2), days=1.0))
    assert [record.steps for record in report.records] == [72, 72]


def test_member_that_fails_is_named_and_does_not_stop_the_others(tmp_path):
    good, bad = model(tmp_path, "good", 0.0), tmp_path / "bad.pt"
    bad.write_bytes(b"no model")
    with pytest.raises(ClimSimError, match=r"1 of 2 members failed: room-bad: .*bad\.pt"):
        run_ensemble(config(tmp_path / "all", models=(bad, good), parallel=1))
    assert RunRecord.open(tmp_path / "all" / "room-good").status == "complete"


@pytest.mark.parametrize("together", [1, 2])
def test_refused_ensemble_leaves_no_folder(tmp_path, together):
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"no model")
    with pytest.raises(ClimSimError, match=r"bad\.pt: expected a TorchScript file"):
        run_ensemble(config(tmp_path / "a" / "all", models=(bad,), seeds=(1, 2), together=together))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pt"]


def test_unstable_member_is_a_result(tmp_path):
    models = (model(tmp_path, "hot", 5e-2), model(tmp_path, "mild", 0.0))
    report = run_ensemble(config(tmp_path / "all", models=models))
    assert str(report) == "2 members: 1 unstable, 1 complete"


def test_members_share_the_cores(tmp_path):
    host = tmp_path / "counted.py"
    host.write_text(
        Path(HOST.partition(":")[0]).read_text()
        + "\nimport os\nRoom.name = 'threads ' + os.environ['OMP_NUM_THREADS']\n"
    )
    run = config(tmp_path / "all", host=f"{host}:build_host", seeds=(1, 2), threads=3)
    assert [r.about.host for r in run_ensemble(run).records] == ["threads 3"] * 2
    assert "OMP_NUM_THREADS" not in os.environ or os.environ["OMP_NUM_THREADS"] != "3"


def test_interrupted_ensemble_continues(tmp_path):
    arguments = ["case=room", f"folder={tmp_path / 'all'}", "days=300", "seeds=[1,2]",
                 "parallel=2", "streams=[]"]  # fmt: skip
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "room.yaml").write_text(f"# @package _global_\nhost: {HOST}\n")
    command = [sys.executable, "-m", "climsim", "online", "ensemble", "--config-dir",
               str(tmp_path), "host=room", *arguments]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    points = [tmp_path / "all" / f"room-{seed}" / "restart" for seed in (1, 2)]
    patience = time.monotonic() + 120
    while not all(list(p.glob("step-*")) for p in points) and time.monotonic() < patience:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=120)
    assert process.returncode == 130, text
    for seed in (1, 2):
        record = json.loads((tmp_path / "all" / f"room-{seed}" / "record.json").read_text())
        assert record["status"] == "interrupted"
        assert 72 < record["steps"] < 300 * 72


def test_request_to_stop_that_comes_while_a_member_is_started_reaches_it(tmp_path, monkeypatch):
    start = SpawnProcess.start

    def start_and_ask(process):
        start(process)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(SpawnProcess, "start", start_and_ask)
    with pytest.raises(KeyboardInterrupt):
        run_ensemble(config(tmp_path / "all", seeds=(1,)))
    run = tmp_path / "all" / "room-1"
    assert not (run / "record.json").exists() or RunRecord.open(run).status != "complete"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ("a.pt",), "model": "b.pt"}, "models: given together with model"),
        ({"seeds": (1,), "perturbation_seed": 2}, "seeds: given together with perturbation_seed"),
        ({"parallel": -1}, "parallel: expected a whole number >= 0"),
        ({"seeds": (1, 1)}, "found 2 of name room-1"),
        ({"models": ("a/m.pt", "b/m.pt")}, "found 2 of name room-m"),
    ],
)
def test_ensemble_that_cannot_work_is_refused(tmp_path, changes, message):
    with pytest.raises(ClimSimError, match=message):
        config(tmp_path, **changes).members()


def test_command_runs_an_ensemble_of_the_shipped_configuration(capsys):
    with pytest.raises(SystemExit) as ending:
        main(["online", "ensemble", "--show-config", "case=x", "folder=y", "days=1", "seeds=[1]"])
    assert ending.value.code == 0
    text = capsys.readouterr().out
    assert "seeds:\n- 1" in text
    assert "spinup_steps: 5" in text


def test_folder_of_the_user_is_refused_and_one_of_runs_is_taken(tmp_path):
    (tmp_path / "thesis.tex").write_text("three years of work")
    with pytest.raises(ClimSimError, match=r"folder=.* a folder of online runs, but it holds thes"):
        run_ensemble(config(tmp_path, seeds=(1,)))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "mmf1").mkdir()
    (tmp_path / "mmf1" / "record.json").write_text('{"case": "mmf1", "status": "complete"}')
    with pytest.raises(ClimSimError, match="unknown host 'none'"):
        run_ensemble(config(tmp_path, host="none"))


class Teller:
    """Keeps what a member reports."""

    def send(self, text):
        self.text = text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}['warmth']", "host.py: KeyError at line 2, in build_host: 'warmth': fix the code"),
        (
            "raise SystemExit(0)",
            "host.py: SystemExit at line 2, in build_host: it ends the program (exit c",
        ),
    ],
)
def test_fault_in_the_host_of_a_member_names_its_line(line, message, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "setpgrp", lambda: None)
    host = tmp_path / "host.py"
    host.write_text(f"def build_host(options):\n    {line}\n")
    member = RunConfig("room", tmp_path / "room", 0.5, host=f"{host}:build_host")
    teller = Teller()
    with pytest.raises(SystemExit) as ended:
        _run_member(member, 0, [0, 0], teller, None)
    assert ended.value.code == 1
    assert message in teller.text
