"""E3SM cases: scripts executed against a stub of CIME, namelists parsed back, logs read."""

import gzip
import json
import os
import stat
import textwrap
from dataclasses import fields, replace
from pathlib import Path

import f90nml
import pytest
import torch
from cftime import DatetimeNoLeap

from climsim.configuration import build_config, compose_config
from climsim.errors import ClimSimError
from climsim.hosts import HOSTS, batch_runner
from climsim.hosts.batch import leaf_keys
from climsim.hosts.e3sm import logs
from climsim.hosts.e3sm.batch import advance, collect
from climsim.hosts.e3sm.case import (
    case_files,
    create_case,
    dry_run,
    require_same_case,
    submit_case,
)
from climsim.hosts.e3sm.config import GPU_LAYOUT, E3smConfig
from climsim.hosts.e3sm.dates import end_date, resubmissions
from climsim.hosts.e3sm.executables import with_shared_executables
from climsim.hosts.e3sm.keys import RUN_KEYS, case_config
from climsim.locks import LOCK_NAME, hold
from climsim.online.config import EnsembleConfig
from climsim.online.ensemble import run_ensemble
from climsim.online.run import RunConfig, run_online
from climsim.online.status import summarize
from climsim.runs.coupling import CouplerOptions
from climsim.runs.record import RunRecord

STUB = r'''#!/usr/bin/env python3
"""Stands in for one of CIME's commands: records the call and writes what E3SM would write."""
import os, pathlib, shutil, stat, sys

name = pathlib.Path(sys.argv[0]).name
with open(os.environ["STUB_CALLS"], "a") as calls:
    calls.write(" ".join([name, *sys.argv[1:]]) + "\n")
    if name == "case.build" and "KOKKOS_NVCC_FLAGS" in os.environ:
        calls.write(f"environment: {os.environ['KOKKOS_NVCC_FLAGS']}\n")
if os.environ.get("STUB_FAIL") == name:
    sys.exit(f"ERROR: {name} is not having it")
if name == "create_newcase":
    root = pathlib.Path(sys.argv[sys.argv.index("--script-root") + 1])
    (root / "SourceMods" / "src.eam").mkdir(parents=True)
    for other in ("xmlchange", "case.setup", "case.build", "case.submit"):
        shutil.copy(sys.argv[0], root / other)
elif name == "xmlchange":
    with open("env.txt", "a") as env:
        env.write("\n".join(sys.argv[-1].split(",")) + "\n")
elif name in ("case.build", "case.submit"):
    env = dict(l.split("=", 1) for l in open("env.txt").read().splitlines() if "=" in l)
    if name == "case.build":
        exe = pathlib.Path(env["EXEROOT"]) / "e3sm.exe"
        exe.write_text("#!/bin/sh\n")
        exe.chmod(0o755)
    else:
        case = pathlib.Path.cwd().parent
        outcome = os.environ.get("STUB_OUTCOME", "queued")
        status = ["case.submit starting", "case.submit success"]
        if outcome != "queued":
            status += ["case.run starting"] + {"complete": ["case.run success"], "running": []}.get(
                outcome, ["case.run error"])
            days = {"complete": 1857, "running": 40, "failed": 45, "unstable": 12}[outcome]
            run = pathlib.Path(env["RUNDIR"])
            stamps = []
            for day in range(1, days + 1):
                month_days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
                total = 365 + 363 + day
                year, rest, month = total // 365 + 1, total % 365, 0
                while rest >= month_days[month]:
                    rest -= month_days[month]
                    month += 1
                hours = day // 60
                clock = f"2026-01-{2 + hours // 24:02d} {hours % 24:02d}:{day % 60:02d}:00"
                stamps.append(f" tStamp_write: model date = {year:04d}{month + 1:02d}{rest + 1:02d}"
                              f"       0 wall clock = {clock} avg dt = 60.0 dt = 60.0")
            (run / "cpl.log.1").write_text("\n".join(stamps) + "\n")
            words = {"unstable": " ERROR: NaN produced in physics_state by package nn-emulator",
                     "failed": " ERROR: could not open the restart file"}.get(outcome, "")
            hey = " HEY MMF_NN_EMULATOR made a negative absolute q, corrected but BEWARE!!!\n"
            (run / "atm.log.1").write_text(hey * 3 + words)
            (run / f"{case.name}.eam.h0.0003-01.nc").write_text("monthly")
        with open("CaseStatus", "a") as log:
            log.write("".join(f"2026-01-02 00:00:00: {line}\n" for line in status))
'''


@pytest.fixture
def cime(tmp_path, monkeypatch):
    """E3SM's source tree with stubs, and the file that records the calls."""
    scripts = tmp_path / "E3SM" / "cime" / "scripts"
    scripts.mkdir(parents=True)
    stub = scripts / "create_newcase"
    stub.write_text(STUB)
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    calls = tmp_path / "calls.txt"
    monkeypatch.setenv("STUB_CALLS", str(calls))
    return tmp_path / "E3SM", calls


def case(tmp_path, name="unet_7", **changes):
    model = tmp_path / "model.pt"
    model.write_bytes(b"a model")
    values = {
        "case": name, "folder": tmp_path / name, "source": tmp_path / "E3SM", "machine": "pm-gpu",
        "account": "m1234", "model": model, "reference_folder": tmp_path / "restart",
    }  # fmt: skip
    return E3smConfig(**(values | changes))


def calls_of(calls):
    return calls.read_text().splitlines() if calls.exists() else []


def groups(config):
    return f90nml.reads(case_files(config)["user_nl_eam"])


@pytest.mark.parametrize(
    ("changes", "months", "jobs", "time"),
    [
        ({}, 61, 1, "20:20:00"),
        ({"purpose": "mmf", "model": None}, 12, 6, "24:00:00"),
        ({"purpose": "mmf", "model": None, "months": 6}, 6, 1, "12:00:00"),
        ({"purpose": "mmf", "model": None, "days": 15}, None, 1, "01:00:00"),
        ({"months_per_job": 13, "minutes_per_month": 30.0}, 13, 5, "06:30:00"),
    ],
)
def test_job_asks_for_the_time_that_the_physics_takes(tmp_path, changes, months, jobs, time):
    config = case(tmp_path, **changes)
    assert resubmissions(config) + 1 == jobs
    assert months is None or config.stop == ("nmonths", months)
    assert config.wall_time == time
    with pytest.raises(ClimSimError, match="minutes_per_month: expected a positive, finite number"):
        case(tmp_path, minutes_per_month=0.0)


def test_scripts_call_cime_in_order_with_the_settings_of_the_case(tmp_path, cime):
    config = case(tmp_path)
    create_case(config)
    submit_case(config)
    calls = calls_of(cime[1])
    names = [line.split()[0] for line in calls]
    assert [n for n in names if n != "xmlchange"] == [
        "create_newcase", "case.setup", "case.build", "case.submit",
    ]  # fmt: skip
    assert "--compset F2010-MMF1 --res ne4pg2_ne4pg2 --machine pm-gpu" in calls[0]
    text = "\n".join(calls)
    for setting in (
        "ATM_NCPL=72", "RUN_TYPE=branch", "RUN_REFDATE=0002-12-30,RUN_REFTOD=00000",
        "PIO_NETCDF_FORMAT=64bit_data", "REST_OPTION=ndays,REST_N=30",
        "STOP_OPTION=nmonths,STOP_N=61,STOP_DATE=80130,RESUBMIT=0",
        "CHARGE_ACCOUNT=m1234,PROJECT=m1234",
        "-cppdefs ' -DMMF_NN_EMULATOR ' ", "CONTINUE_RUN=FALSE", "JOB_WALLCLOCK_TIME=20:20:00",
    ):  # fmt: skip
        assert setting in text
    assert (config.case_root / "user_nl_eam").read_text() == case_files(config)["user_nl_eam"]
    assert os.access(config.build_folder / "e3sm.exe", os.X_OK)


def test_dry_run_lists_the_commands_that_are_then_called(tmp_path, cime):
    config = case(tmp_path)
    commands = dry_run(config)
    assert not config.folder.exists()
    create_case(config)
    submit_case(config)
    assert len(commands) == len(calls_of(cime[1]))
    for command, call in zip(commands, calls_of(cime[1]), strict=True):
        assert Path(command.split()[0]).name == call.split()[0]


def test_creating_twice_does_nothing_twice(tmp_path, cime):
    create_case(case(tmp_path))
    before = calls_of(cime[1])
    create_case(case(tmp_path))
    assert calls_of(cime[1]) == before


def test_creation_that_failed_in_the_build_resumes_there(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_FAIL", "case.build")
    with pytest.raises(ClimSimError, match=r"case\.build is not having it.*create_case\.log"):
        create_case(case(tmp_path))
    monkeypatch.delenv("STUB_FAIL")
    create_case(case(tmp_path))
    names = [line.split()[0] for line in calls_of(cime[1])]
    assert names.count("create_newcase") == 1
    assert names.count("case.setup") == 1
    assert names.count("case.build") == 2


def test_ensemble_builds_one_executable_for_each_purpose(tmp_path, cime):
    cases = [case(tmp_path, f"member_{n}") for n in range(3)]
    cases.append(case(tmp_path, "mmf1", purpose="mmf", model=None))
    states = [advance(c) for c in with_shared_executables(cases)]
    assert [s.status for s in states] == ["submitted"] * 4
    text = "\n".join(calls_of(cime[1]))
    assert text.count("case.build") == 2
    assert text.count("BUILD_COMPLETE=TRUE") == 2
    assert f"EXEROOT={cases[0].build_folder}" in text
    assert text.count(f"EXEROOT={cases[0].build_folder}\n") == 3


def test_namelist_tells_e3sm_of_the_model_and_the_rules(tmp_path):
    options = CouplerOptions(strato_water=False, spinup_steps=7)
    group = groups(case(tmp_path, coupler=options))["mmf_nn_emulator_nl"]
    assert (group["inputlength"], group["outputlength"]) == (557, 368)
    assert group["cb_nn_var_combo"] == "v2"
    assert group["cb_torch_model"] == str(tmp_path / "model.pt")
    assert (group["cb_spinup_step"], group["cb_strato_water_constraint"]) == (7, False)
    assert (group["cb_partial_coupling"], group["cb_do_ramp"], group["input_rh"]) == (
        False, False, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("combination", "lengths"), [("v2", [557, 368]), ("v6", [1519, 368]), ("v2_conf", [557, 676])]
)
def test_lengths_follow_the_variable_combination(tmp_path, combination, lengths):
    group = groups(case(tmp_path, combination=combination))["mmf_nn_emulator_nl"]
    assert [group["inputlength"], group["outputlength"]] == lengths


def test_ramp_names_all_variables_because_e3sm_ramps_only_those_it_is_told(tmp_path):
    options = CouplerOptions(ramp="linear", ramp_linear_steps=144, ramp_factor=0.5)
    group = groups(case(tmp_path, coupler=options))["mmf_nn_emulator_nl"]
    assert group["cb_partial_coupling"] is True
    assert len(group["cb_partial_coupling_vars"]) == 14
    assert (group["cb_ramp_option"], group["cb_ramp_linear_steps"]) == ("linear", 144)
    assert group["cb_ramp_factor"] == 0.5


def test_partial_coupling_names_the_chosen_variables(tmp_path):
    options = CouplerOptions(partial_variables=("ptend_t", "cam_out_PRECC"))
    group = groups(case(tmp_path, coupler=options))["mmf_nn_emulator_nl"]
    assert group["cb_partial_coupling_vars"] == ["ptend_t", "cam_out_PRECC"]
    assert group["cb_do_ramp"] is False


def test_streams_ask_for_the_means_and_the_hourly_states_of_the_published_cases(tmp_path):
    group = groups(case(tmp_path, streams=("h0", "h1", "h2")))["cam_history_nl"]
    assert (group["nhtfrq"], group["mfilt"]) == ([0, -24, -1], [1, 1, 1])
    assert group["avgflag_pertape"] == ["A", "A", "I"]
    assert {"DQ3PHYS", "CLDHGH", "Z500", "LANDFRAC"} <= set(group["fincl2"])
    assert group["fincl3"] == group["fincl2"] == group["fincl1"]
    assert "DTPHYSCONF" not in group["fincl1"]


def test_hourly_stream_may_hold_fewer_fields_and_a_day_in_a_file(tmp_path):
    config = case(tmp_path, streams=("h0", "h2"), hourly_fields=("PRECT",), hourly_samples=24)
    group = groups(config)["cam_history_nl"]
    assert (group["fincl3"], group["mfilt"]) == ("PRECT", [1, 1, 24])


@pytest.mark.parametrize(
    ("streams", "hours"),
    [(("h0",), 0), (("h1",), [0, -24]), (("h2", "h0"), [0, -24, -1])],
)
def test_stream_is_on_the_tape_whose_number_its_files_bear(tmp_path, streams, hours):
    """E3SM calls the files of its second tape h1, whatever is on it."""
    assert groups(case(tmp_path, streams=streams))["cam_history_nl"]["nhtfrq"] == hours


def test_model_runs_on_a_gpu_where_the_compiler_is_for_one_unless_it_is_told_otherwise(tmp_path):
    plain = plain_config(tmp_path)
    for compiler, device, expected in (
        ("gnugpu", "auto", True), ("gnu", "auto", False), ("gnugpu", "cpu", False),
        ("gnu", "gpu", True),
    ):  # fmt: skip
        options = plain.host_options | {"compiler": compiler}
        config = case_config(replace(plain, device=device, host_options=options))
        assert groups(config)["mmf_nn_emulator_nl"]["cb_use_cuda"] is expected


def test_process_layout_is_the_published_one_of_the_compiler(tmp_path, cime):
    for compiler, words in (
        ("gnugpu", ("--pecount 8x8", "MAX_MPITASKS_PER_NODE=4,MAX_TASKS_PER_NODE=32")),
        ("gnu", ("--pecount 64x1", "MAX_MPITASKS_PER_NODE=64,MAX_TASKS_PER_NODE=64")),
    ):
        script = case_files(case(tmp_path, compiler=compiler))["create_case.sh"]
        assert all(word in script for word in words)
    assert "--pecount 16x8" in case_files(case(tmp_path, tasks=16))["create_case.sh"]


def test_own_files_environment_and_macros_reach_the_case(tmp_path, cime):
    streams = tmp_path / "user_docn.streams.txt.prescribed"
    streams.write_text("June")
    streams.chmod(0o444)
    mods = tmp_path / "mods"
    mods.mkdir()
    (mods / "cam_diagnostics.F90").write_text("end")
    config = case(
        tmp_path, case_files=[streams], source_mods=mods, debug_build=True,
        environment_lines=["KOKKOS_NVCC_FLAGS=-arch=sm_80 $(touch INJECTED)"],
        user_cpp=["MMF_NN_EMULATOR", "MMF_NN_EMULATORDEBUG"], mail="a@b.org",
    )  # fmt: skip
    create_case(config)
    submit_case(config)
    copied = config.case_root / streams.name
    assert copied.read_text() == "June"
    assert os.access(copied, os.W_OK)
    assert (config.case_root / "SourceMods/src.eam/cam_diagnostics.F90").exists()
    calls = "\n".join(calls_of(cime[1]))
    assert f" -usr_src {config.case_root}/SourceMods/src.eam " in calls
    assert "--file env_build.xml --id DEBUG --val TRUE" in calls
    assert "' -DMMF_NN_EMULATOR -DMMF_NN_EMULATORDEBUG '" in calls
    assert calls.endswith("case.submit --mail-user a@b.org --mail-type begin,end")
    assert "environment: -arch=sm_80 $(touch INJECTED)" in calls
    assert not list(tmp_path.rglob("INJECTED"))


def test_case_that_is_only_built_is_not_submitted(tmp_path, cime):
    config = run_config(tmp_path, build_only=True)
    assert run_online(config).status == "created"
    assert run_online(config).status == "created"
    names = [line.split()[0] for line in calls_of(cime[1])]
    assert (names.count("case.build"), names.count("case.submit")) == (1, 0)
    with pytest.raises(ClimSimError, match="build_only=true: given together with wait=true"):
        run_online(run_config(tmp_path, build_only=True, wait=True))
    assert run_online(run_config(tmp_path)).status == "submitted"


def test_own_files_of_a_case_that_are_not_there_are_named(tmp_path, cime):
    with pytest.raises(ClimSimError, match=r"host_options\.case_files: .*/none: no such file"):
        create_case(case(tmp_path, case_files=[tmp_path / "none"]))
    with pytest.raises(ClimSimError, match=r"host_options\.source_mods: .* a folder with \*\.F90"):
        create_case(case(tmp_path, source_mods=tmp_path / "none"))


def test_confidences_are_asked_for_under_a_model_that_has_them(tmp_path):
    group = groups(case(tmp_path, combination="v2_conf"))["cam_history_nl"]
    assert {"DTPHYSCONF", "DQ1PHYSCONF", "DQNPHYSCONF", "DUPHYSCONF"} <= set(group["fincl1"])


def test_reference_and_training_cases_hold_no_emulator(tmp_path):
    for purpose, definitions in (("mmf", None), ("training", "-DMMF_ML_TRAINING")):
        config = case(tmp_path, purpose=purpose, model=None)
        assert "mmf_nn_emulator_nl" not in groups(config)
        assert ("-cppdefs" in case_files(config)["create_case.sh"]) == (definitions is not None)
        assert (definitions or "") in case_files(config)["create_case.sh"]


def test_namelist_as_frozen_text(tmp_path):
    config = replace(
        case(tmp_path, streams=("h0",)), model=Path("/models/unet.pt"), perturbation=1e-14,
        run_type="hybrid",
    )  # fmt: skip
    expected = """\
        &phys_ctl_nl
         state_debug_checks = .true.
        /

        &radiation
         do_aerosol_rad = .false.
        /

        &mmf_nn_emulator_nl
         inputlength = 557
         outputlength = 368
         input_rh = .true.
         cb_nn_var_combo = 'v2'
         cb_torch_model = '/models/unet.pt'
         cb_use_cuda = .true.
         cb_spinup_step = 5
         cb_partial_coupling = .false.
        """
    text = case_files(config)["user_nl_eam"]
    assert text.startswith(textwrap.dedent(expected))
    assert f90nml.reads(text)["cam_inparm"]["pertlim"] == 1e-14


def test_states_follow_the_logs(tmp_path, cime, monkeypatch):
    expected = {"queued": "submitted", "running": "running", "failed": "failed",
                "unstable": "unstable", "complete": "complete"}  # fmt: skip
    for outcome, status in expected.items():
        monkeypatch.setenv("STUB_OUTCOME", outcome)
        config = case(tmp_path, outcome)
        assert logs.case_state(config).status == "prepared"
        create_case(config)
        assert logs.case_state(config).status == "created"
        submit_case(config)
        assert logs.case_state(config).status == status


def test_instability_is_distinguished_from_other_failures_with_its_day(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "unstable")
    state = advance(case(tmp_path))
    assert (state.status, state.days) == ("unstable", 12.0)
    assert "NaN produced in physics_state" in state.message
    assert state.corrections == {"positivity:ptend_t": 0, "positivity:ptend_q0001": 3}
    assert state.sypd == pytest.approx(86400 / 60 / 365)


def test_job_that_ran_out_of_time_after_a_correction_is_no_instability(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "failed")
    config = case(tmp_path)
    advance(config)
    log = config.run_folder / "atm.log.1"
    corrected = "HEY MMF_NN_EMULATOR made a negative absolute temperature, corrected but BEWARE!!!"
    log.write_text(f"{corrected}\n ERROR: the time limit of the job was reached\n")
    state = logs.case_state(config)
    assert (state.status, state.corrections["positivity:ptend_t"]) == ("failed", 1)


def test_failed_case_resumes_from_its_restart(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "failed")
    advance(case(tmp_path))
    monkeypatch.setenv("STUB_OUTCOME", "complete")
    state = advance(case(tmp_path))
    assert state.status == "complete"
    assert calls_of(cime[1])[-5:][0] == "xmlchange CONTINUE_RUN=TRUE"
    before = calls_of(cime[1])
    assert advance(case(tmp_path)).status == "complete"
    assert calls_of(cime[1]) == before


def test_jobs_end_on_the_last_day_and_after_a_failure_only_what_is_left_is_asked_for(
    tmp_path, cime, monkeypatch
):
    own_physics = {"purpose": "mmf", "model": None, "months": 14, "months_per_job": 6}
    config = case(tmp_path, **own_physics)
    assert [resubmissions(config, days) for days in (0, 29, 200, 242, 271)] == [2, 2, 1, 1, 0]
    monkeypatch.setenv("STUB_OUTCOME", "failed")
    advance(config)
    text = "\n".join(calls_of(cime[1]))
    # From 30 December of year 2 by fourteen months; a job of six months is the third.
    length = "xmlchange STOP_OPTION=nmonths,STOP_N=6,STOP_DATE=40228"
    assert f"{length},RESUBMIT=2" in text
    (config.run_folder / "cpl.log.2").write_text(
        " model date = 00030829       0 wall clock = 2026-01-03 00:00:00 avg dt\n"
    )
    advance(config)
    assert f"{length},RESUBMIT=1" in calls_of(cime[1])[-5:]


def note(config, *events):
    with (config.case_root / "CaseStatus").open("a") as log:
        log.write("".join(f"2026-01-02 00:00:00: {event}\n" for event in events))


def test_case_whose_submission_was_refused_is_submitted_again(tmp_path, cime):
    config = case(tmp_path)
    create_case(config)
    note(config, "case.submit starting ", "case.submit error ")
    assert logs.case_state(config).status == "created"
    assert advance(config).status == "submitted"
    assert calls_of(cime[1])[-1] == "case.submit"


def test_chain_whose_next_job_was_refused_continues(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "running")
    config = case(tmp_path)
    advance(config)
    note(config, "case.run success ", "case.submit starting ", "case.submit error ")
    state = logs.case_state(config)
    assert (state.status, state.days) == ("failed", 40.0)
    assert "refused the job" in state.message
    advance(config)
    assert "xmlchange CONTINUE_RUN=TRUE" in calls_of(cime[1])[-5:]


KILLED = ("case.submit success case.run:4711, case.st_archive:4712", "case.run starting 4711 ")


def slurm(tmp_path, monkeypatch, **commands):
    """Stand-ins for commands of SLURM: what each does when it is asked for job 4711."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in commands.items():
        (folder / name).write_text(f'#!/bin/sh\ncase "$*" in *--jobs=4711*) {text};; esac\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


FORGOTTEN = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"


@pytest.mark.parametrize(
    ("squeue", "sacct", "state"),
    [
        ("echo RUNNING", "exit 1", None),
        (FORGOTTEN, "echo TIMEOUT", "TIMEOUT"),
        (FORGOTTEN, "echo 'CANCELLED by 1000'", "CANCELLED"),
        (FORGOTTEN, "echo RUNNING", None),
        ("exit 0", "exit 1", "unknown"),
        (FORGOTTEN, "exit 0", None),  # as a job of another cluster
    ],
)
def test_job_that_was_killed_without_a_note_is_missed_in_the_queue(
    tmp_path, cime, monkeypatch, squeue, sacct, state
):
    monkeypatch.setenv("STUB_OUTCOME", "running")
    config = case(tmp_path)
    advance(config)
    note(config, *KILLED)
    slurm(tmp_path, monkeypatch, squeue=squeue, sacct=sacct)
    assert logs.case_state(config).status == "running"  # other nodes may write late
    for path in (config.case_root / "CaseStatus", config.run_folder / "cpl.log.1"):
        os.utime(path, (0, 0))
    found = logs.case_state(config)
    assert found.status == ("running" if state is None else "failed")
    assert found.message == (
        "" if state is None
        else f"job 4711 ended, of which CIME's CaseStatus says nothing (SLURM's state: {state})"
    )  # fmt: skip


def test_job_before_one_that_is_being_submitted_tells_nothing_of_it(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "running")
    config = case(tmp_path)
    advance(config)
    note(config, *KILLED, "case.run success ", "case.submit starting ")
    slurm(tmp_path, monkeypatch, squeue=FORGOTTEN, sacct="echo COMPLETED")
    for path in (config.case_root / "CaseStatus", config.run_folder / "cpl.log.1"):
        os.utime(path, (0, 0))
    assert logs.case_state(config).status == "submitted"


def test_case_whose_device_an_earlier_version_noted_is_the_same_case(tmp_path, cime):
    config = case_config(plain_config(tmp_path))
    create_case(config)
    about = json.loads((config.folder / "case.json").read_text())
    assert about["cuda"] == "True"
    require_same_case(config)


def test_second_call_beside_one_that_builds_does_not_submit_the_case_twice(tmp_path, cime):
    config = case(tmp_path)
    with hold(config.folder / LOCK_NAME), pytest.raises(ClimSimError, match="another process"):
        advance(config)
    assert calls_of(cime[1]) == []


def test_log_that_is_cut_in_its_last_line_is_read_up_to_there(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "running")
    config = case(tmp_path)
    advance(config)
    log = config.run_folder / "cpl.log.1"
    text = log.read_text()
    log.write_text(text[: text.rindex("wall clock") + len("wall clock = 2026-01-02 0")])
    assert logs.case_state(config).days == 39.0


def test_compressed_logs_are_read(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "running")
    config = case(tmp_path)
    advance(config)
    log = config.run_folder / "cpl.log.1"
    with gzip.open(config.run_folder / "cpl.log.1.gz", "wt") as stream:
        stream.write(log.read_text())
    log.unlink()
    assert logs.case_state(config).days == 40.0


def test_end_date_counts_months_as_cime_does(tmp_path):
    assert end_date(case(tmp_path)) == DatetimeNoLeap(8, 1, 30)
    assert end_date(case(tmp_path, months=2)) == DatetimeNoLeap(3, 2, 28)


def test_history_is_linked_to_where_the_evaluation_looks(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "complete")
    config = case(tmp_path)
    advance(config)
    (link,) = collect(config, tmp_path / "collected")
    assert link.name == "unet_7.eam.h0.0003-01.nc"
    assert link.read_text() == "monthly"
    assert collect(config, tmp_path / "collected") == [link]


def test_history_that_was_copied_into_the_folder_is_kept(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "complete")
    config = case(tmp_path)
    advance(config)
    (link,) = collect(config, tmp_path / "collected")
    link.unlink()
    link.write_text("a copy")
    collect(config, tmp_path / "collected")
    assert link.read_text() == "a copy"


def test_job_that_died_in_its_first_step_does_not_start_the_case_anew(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "failed")
    config = case(tmp_path)
    advance(config)
    (config.run_folder / "cpl.log.2").write_text("before the first step\n")
    (config.run_folder / "cpl.log.3.gz").write_bytes(b"\x1f\x8b half compressed")
    assert logs.case_state(config).days == 45.0
    advance(config)
    assert "xmlchange CONTINUE_RUN=TRUE" in calls_of(cime[1])[-5:]


def run_config(tmp_path, **changes):
    model = tmp_path / "model.pt"
    model.write_bytes(b"a model")
    options = {"source": tmp_path / "E3SM", "machine": "pm-gpu", "account": "m1", "months": 61,
               "combination": "v2", "reference_folder": tmp_path / "restart"}  # fmt: skip
    return RunConfig(
        case="unet_7", folder=tmp_path / "unet_7", days=1855, host="e3sm", model=model,
        host_options=options | changes,
    )  # fmt: skip


def test_online_run_of_the_host_e3sm_brings_a_case_to_its_end(tmp_path, cime, monkeypatch):
    assert run_online(run_config(tmp_path)).status == "submitted"
    monkeypatch.setenv("STUB_OUTCOME", "complete")
    submit_case(case_config(run_config(tmp_path)))
    record = run_online(run_config(tmp_path))
    assert (record.status, record.steps) == ("complete", 1857 * 72)
    assert record.about.physics == "MMF"
    saved = RunRecord.open(tmp_path / "unet_7")
    assert saved.finished
    assert saved.sypd == pytest.approx(86400 / 60 / 365)
    assert (tmp_path / "unet_7" / "unet_7.eam.h0.0003-01.nc").exists()
    assert summarize(tmp_path / "unet_7").status == "complete"


def test_unstable_case_is_shown_as_such(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "unstable")
    record = run_online(run_config(tmp_path))
    assert record.message.startswith("unstable after 12 days: ERROR: NaN produced")
    summary = summarize(tmp_path / "unet_7")
    assert (summary.status, summary.days) == ("unstable", 12.0)
    assert "NaN produced" in summary.health


def test_dry_run_of_online_run_calls_nothing(tmp_path, cime):
    record = run_online(run_config(tmp_path, dry_run=True))
    assert record.status == "dry run"
    assert "create_newcase" in record.message
    assert not calls_of(cime[1])
    assert not (tmp_path / "unet_7").exists()


@pytest.mark.parametrize(
    ("sizes", "combination"),
    [((557, 368), "v2"), ((1519, 368), "v6"), ((557, 676), "v2_conf")],
)
def test_combination_follows_from_the_interface_of_the_file(tmp_path, sizes, combination):
    config = run_config(tmp_path, combination=None, dry_run=True)
    torch.jit.save(torch.jit.script(torch.nn.Linear(*sizes)), str(config.model))
    assert case_config(config).combination == combination


def test_shipped_configuration_builds_a_case(tmp_path):
    given = {"source": "/E3SM", "machine": "pm-gpu", "account": "m1", "reference_folder": "/r"}
    overrides = [f"host_options.{key}={value}" for key, value in given.items()]
    values = compose_config(
        "online_run", ["host=e3sm", "case=mmf1", f"folder={tmp_path}", "days=1855", *overrides]
    )
    built = case_config(build_config(RunConfig, values))
    assert (built.purpose, built.days, built.reference_date) == ("mmf", 1855, "0002-12-30")
    assert built == E3smConfig(
        case="mmf1", folder=tmp_path, purpose="mmf", days=1855, streams=("h0", "h1", "h2"), **given
    )


def test_case_says_what_made_it(tmp_path, cime):
    create_case(case(tmp_path))
    about = json.loads((tmp_path / "unet_7" / "case.json").read_text())
    assert about["compset"] == "F2010-MMF1"
    assert str(tmp_path / "model.pt") in about["input_hashes"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference_date": "0002-02-30"}, r"reference_date: expected a day of a year of 365"),
        ({"model": None}, "^model: a hybrid case needs"),
        ({"combination": "v4"}, "host_options.combination: expected one of .*, found 'v4'"),
        ({"perturbation": 1e-14}, "host_options.perturbation: a branch run"),
        ({"reference_folder": None}, "host_options.reference_folder: a branch run needs"),
        (
            {"seed": 0, "perturbation": 1e-9, "run_type": "hybrid"},
            "^perturbation_seed: expected 1",
        ),
        ({"mail": "a b@c"}, "host_options.mail: expected an address"),
        (
            {"mail_types": ["often"]},
            "host_options.mail_types: expected never, all, begin, end or fail",
        ),
        (
            {"environment_lines": ["A B"]},
            "host_options.environment_lines: expected lines as NAME=VALUE",
        ),
        ({"months": 0}, "host_options.months: expected a whole number >= 1"),
        ({"coupler": CouplerOptions(watch_physics=True)}, "^coupler.watch_physics"),
    ],
)
def test_case_that_cannot_work_is_refused(tmp_path, changes, message):
    with pytest.raises(ClimSimError, match=message):
        case(tmp_path, **changes)


INJECTED = "x; touch INJECTED #"


@pytest.mark.parametrize(
    "key",
    [
        "case", "folder", "source", "machine", "account", "model", "compiler", "queue", "compset",
        "grid", "run_type", "reference_case", "reference_date", "reference_time",
        "reference_folder", "executable", "ftorch", "tasks", "threads", "tasks_per_node",
        "steps_per_day", "months", "months_per_job", "restart_days",
    ],
)  # fmt: skip
def test_setting_that_would_be_a_command_in_a_script_is_refused(tmp_path, key):
    for value in (INJECTED, "$(id)", "a\nb"):
        with pytest.raises(ClimSimError, match=rf"^(host_options\.)?{key}: "):
            case(tmp_path, **{key: value})


def test_whatever_a_script_is_filled_with_stays_one_word(tmp_path, monkeypatch, cime):
    monkeypatch.setattr(E3smConfig, "__post_init__", lambda self: None)
    monkeypatch.chdir(tmp_path)
    config = case(
        tmp_path, machine=INJECTED, account="$(touch INJECTED)", queue="`touch INJECTED`",
        grid="a' b\"", restart_days=INJECTED, **GPU_LAYOUT,
    )  # fmt: skip
    create_case(config)
    submit_case(config)
    assert "--res a' b\" --machine x; touch INJECTED # " in calls_of(cime[1])[0]
    assert not list(tmp_path.rglob("INJECTED"))


def test_namelist_keeps_quotes_of_a_path(tmp_path, monkeypatch):
    monkeypatch.setattr(E3smConfig, "__post_init__", lambda self: None)
    config = case(tmp_path, model=Path("/m/it's 'x' &end.pt"), **GPU_LAYOUT)
    assert groups(config)["mmf_nn_emulator_nl"]["cb_torch_model"] == "/m/it's 'x' &end.pt"


def test_missing_and_unknown_settings_of_the_host_are_named(tmp_path):
    with pytest.raises(ClimSimError, match=r"host_options\.wall: unknown key of the host e3sm"):
        run_online(run_config(tmp_path, wall=3))
    config = replace(run_config(tmp_path), host_options={"machine": "x"})
    with pytest.raises(ClimSimError, match=r"host_options\.source: the host e3sm needs it"):
        run_online(config)


def test_case_under_another_namelist_is_not_overwritten(tmp_path, cime):
    create_case(case(tmp_path))
    with pytest.raises(
        ClimSimError, match=r"holds another case: coupler.spinup_steps was 5, now 9"
    ):
        create_case(case(tmp_path, coupler=CouplerOptions(spinup_steps=9)))


def test_case_under_way_is_shown_as_running_with_the_time_left(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "running")
    assert run_online(run_config(tmp_path)).status == "running"
    summary = summarize(tmp_path / "unet_7")
    assert (summary.status, summary.days) == ("running", 40.0)
    left = summary.days_wanted - 40.0
    assert summary.seconds_left == pytest.approx(left * 60, rel=1e-3)  # the stub: 60 s a day


def test_settings_of_a_case_under_way_are_not_silently_dropped(tmp_path, cime):
    config = run_config(tmp_path)
    run_online(config)
    before = calls_of(cime[1])
    with pytest.raises(ClimSimError, match=r"holds another case: streams was .* now \('h0',\)"):
        run_online(replace(config, streams=("h0",)))
    config.model.write_bytes(b"a model trained again")
    with pytest.raises(ClimSimError, match="holds another case: the content of"):
        run_online(config)
    assert calls_of(cime[1]) == before


def test_case_that_could_not_be_created_is_made_anew_with_the_right_settings(
    tmp_path, cime, monkeypatch
):
    monkeypatch.setenv("STUB_FAIL", "case.build")
    with pytest.raises(ClimSimError, match=r"case\.build is not having it"):
        run_online(run_config(tmp_path, compiler="gnu"))
    monkeypatch.delenv("STUB_FAIL")
    assert run_online(run_config(tmp_path, compiler="gnugpu")).status == "submitted"
    created = [line for line in calls_of(cime[1]) if line.startswith("create_newcase")]
    assert ["--compiler gnugpu" in line for line in created] == [False, True]


def test_queue_and_account_may_change_between_the_jobs_of_a_case(tmp_path, cime, monkeypatch):
    monkeypatch.setenv("STUB_OUTCOME", "failed")
    run_online(run_config(tmp_path))
    run_online(run_config(tmp_path, queue="debug", account="m9"))
    text = "\n".join(calls_of(cime[1]))
    assert "JOB_QUEUE=debug" in text
    assert "CHARGE_ACCOUNT=m9" in text


def plain_config(tmp_path, **changes):
    """A hybrid run from a perturbable start, all of whose keys can be changed."""
    run = run_config(tmp_path, run_type="hybrid", months=None)
    return replace(run, **{"perturbation_seed": 1, **changes})


CHANGES = {
    "case": {"case": "other"},
    "folder": {"folder": Path("/other")},
    "days": {"days": 30.0},
    "host_options": {"host_options": {"queue": "debug"}},
    "model": {"model": Path("/other.pt")},
    "device": {"device": "cpu"},
    "perturbation_seed": {"perturbation_seed": 2},
    "perturbation_amplitude": {"perturbation_amplitude": 0.5},
    "streams": {"streams": ("h0",)},
    "hourly_fields": {"hourly_fields": ("PRECT", "FLUT")},
    "restart_days": {"restart_days": 5.0},
    "coupler.spinup_steps": {"coupler": CouplerOptions(spinup_steps=9)},
    "coupler.strato_water": {"coupler": CouplerOptions(strato_water=False)},
    "coupler.partial_variables": {"coupler": CouplerOptions(partial_variables=("ptend_t",))},
    "coupler.ocean_only": {"coupler": CouplerOptions(ocean_only=True)},
    "coupler.ramp": {"coupler": CouplerOptions(ramp="step")},
    "coupler.ramp_factor": {"coupler": CouplerOptions(ramp_factor=0.5)},
    "coupler.ramp_linear_steps": {"coupler": CouplerOptions(ramp_linear_steps=9)},
    "coupler.ramp_step_1steps": {"coupler": CouplerOptions(ramp_step_1steps=9)},
    "coupler.ramp_step_0steps": {"coupler": CouplerOptions(ramp_step_0steps=9)},
}
"""A change of each key that decides on the files of a case."""
ELSEWHERE = {"host", "models", "seeds", "coupler.watch_physics"}
"""Keys that act in another way: each has a test of its own."""
REFUSED = {
    "together": {"together": 2},
    "threads": {"threads": 2},
    "health_steps": {"health_steps": 12},
    "start": {"start": Path("start.npz")},
    "starts": {"starts": (Path("start.npz"),)},
    "kept_restart_days": {"kept_restart_days": 5},
    "coupler.positivity": {"coupler": CouplerOptions(positivity=False)},
    "coupler.top_levels": {"coupler": CouplerOptions(top_levels=15)},
    "coupler.mixing": {"coupler": CouplerOptions(mixing="confidence", mixing_high=1.0)},
    "coupler.mixing_low": {"coupler": CouplerOptions(mixing_low=1.0)},
    "coupler.mixing_high": {"coupler": CouplerOptions(mixing_high=1.0)},
    "coupler.mixing_statistics": {"coupler": CouplerOptions(mixing_statistics="x.nc")},
    "parallel": {"parallel": 2},
}


def test_every_key_of_a_run_is_either_acted_on_or_refused_by_each_batch_host(tmp_path):
    ensemble = EnsembleConfig(case="a", folder=tmp_path, days=1, host="e3sm")
    batch = [name for name in HOSTS.names() if batch_runner(name) is not None]
    assert batch == ["e3sm"]
    for name in batch:
        declared = batch_runner(name).keys
        assert declared.taken | declared.refused.keys() == leaf_keys(ensemble).keys()
        assert not declared.taken & declared.refused.keys()
    assert RUN_KEYS.taken == CHANGES.keys() | ELSEWHERE
    assert RUN_KEYS.refused.keys() == REFUSED.keys()


@pytest.mark.parametrize("key", CHANGES)
def test_key_that_e3sm_takes_changes_the_files_of_its_case(tmp_path, key):
    plain = plain_config(tmp_path)
    change = dict(CHANGES[key])
    if "host_options" in change:
        change["host_options"] = plain.host_options | change["host_options"]
    assert case_files(case_config(replace(plain, **change))) != case_files(case_config(plain))


@pytest.mark.parametrize("key", REFUSED)
def test_key_that_e3sm_cannot_take_is_refused_by_name(tmp_path, cime, key):
    shared = plain_config(tmp_path)
    values = {f.name: getattr(shared, f.name) for f in fields(RunConfig)}
    config = EnsembleConfig(**(values | REFUSED[key]))
    with pytest.raises(ClimSimError, match=f"^{key}=.*the host e3sm cannot take it"):
        run_ensemble(config)
    if key not in ("parallel", "together", "starts"):
        with pytest.raises(ClimSimError, match=f"^{key}=.*the host e3sm cannot take it"):
            run_online(replace(shared, **REFUSED[key]))
    assert not calls_of(cime[1])


def test_keys_of_a_run_reach_e3sm_in_its_own_words(tmp_path):
    config = plain_config(
        tmp_path, days=45, device="cpu", perturbation_amplitude=0.02, restart_days=5,
        hourly_fields=("PRECT", "FLUT"), coupler=CouplerOptions(ocean_only=True),
    )  # fmt: skip
    built = case_config(replace(config, host_options=config.host_options | {
        "cpp_definitions": ["MMF_NN_EMULATOR_DIAG_PARTIAL", "LEVELS=60"], "months_per_job": 1,
    }))  # fmt: skip
    files = case_files(built)
    assert (
        "' -DMMF_NN_EMULATOR -DMMF_NN_EMULATOR_OCN_ONLY -DMMF_NN_EMULATOR_DIAG_PARTIAL "
        "-DLEVELS=60 '"
    ) in files["create_case.sh"].replace("'\"'\"'", "'")
    assert "REST_OPTION=ndays,REST_N=5" in files["create_case.sh"]
    assert "STOP_OPTION=ndays,STOP_N=30,STOP_DATE=30213,RESUBMIT=1" in files["submit_case.sh"]
    names = f90nml.reads(files["user_nl_eam"])
    emulator = names["mmf_nn_emulator_nl"]
    assert (emulator["cb_use_cuda"], emulator["cb_partial_coupling"]) == (False, True)
    assert names["cam_history_nl"]["fincl3"] == ["PRECT", "FLUT"]
    # Uniform between -p and p times 250 K: a standard deviation of 0.02 K.
    assert names["cam_inparm"]["pertlim"] * 250 / 3**0.5 == pytest.approx(0.02)
    assert end_date(built) == DatetimeNoLeap(3, 2, 13)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"days": 30.5}, "days=30.5: expected whole days"),
        ({"restart_days": 0.5}, "restart_days=0.5: expected whole days"),
        ({"days": 30, "host_options": {"months": 61}}, "days=30: host_options.months=61 are 1856"),
        (
            {"host_options": {"cuda": False}},
            "host_options.cuda: no option of the host but the key device",
        ),
        ({"host_options": {"streams": ["h1"]}}, "host_options.streams: no option of the host but"),
        (
            {"host_options": {"perturbation": 1e-9}, "perturbation_amplitude": 0.5},
            "perturbation_amplitude=0.5: given together with host_options.perturbation",
        ),
        (
            {"host_options": {"cpp_definitions": ["A B"]}},
            "host_options.cpp_definitions: expected macros as NAME",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path, changes, message):
    plain = plain_config(tmp_path)
    options = plain.host_options | changes.get("host_options", {})
    with pytest.raises(ClimSimError, match=message):
        case_config(replace(plain, **(changes | {"host_options": options})))


def ensemble_config(tmp_path, **changes):
    shared = run_config(tmp_path, run_type="hybrid", perturbation=1e-14)
    values = {"case": "unet", "folder": tmp_path / "all", "days": 1855, "host": "e3sm",
              "host_options": shared.host_options, "model": shared.model}  # fmt: skip
    return EnsembleConfig(**(values | changes))


def test_ensemble_of_cases_builds_once_and_is_collected(tmp_path, cime, monkeypatch):
    other = tmp_path / "other.pt"
    other.write_bytes(b"another model")
    config = ensemble_config(tmp_path, model=None, models=(tmp_path / "model.pt", other))
    report = run_ensemble(config)
    assert str(report) == "2 members: 2 submitted"
    calls = calls_of(cime[1])
    assert sum(line.startswith("case.build") for line in calls) == 1
    assert sum(line.startswith("case.submit") for line in calls) == 2
    names = [groups_of(tmp_path / "all" / f"unet-{n}") for n in ("model", "other")]
    assert names == [str(tmp_path / "model.pt"), str(other)]
    assert str(run_ensemble(config)) == "2 members: 2 submitted"
    assert calls_of(cime[1]) == calls


def test_member_that_fails_is_named_at_the_end_and_stops_no_other(tmp_path, cime):
    (tmp_path / "other.pt").write_bytes(b"another model")
    models = tuple(tmp_path / f"{name}.pt" for name in ("model", "missing", "other"))
    config = ensemble_config(tmp_path, model=None, models=models)
    with pytest.raises(ClimSimError, match=r"^1 of 3 members failed: unet-missing: .*missing\.pt"):
        run_ensemble(config)
    assert sum(line.startswith("case.submit") for line in calls_of(cime[1])) == 2


def groups_of(folder):
    return f90nml.read(folder / "user_nl_eam")["mmf_nn_emulator_nl"]["cb_torch_model"]


def test_dry_run_of_an_ensemble_calls_nothing(tmp_path, cime):
    config = ensemble_config(tmp_path)
    options = {**config.host_options, "dry_run": True}
    report = run_ensemble(replace(config, host_options=options))
    (record,) = report.records
    assert "case.submit" in record.message
    assert not calls_of(cime[1])


def test_members_from_perturbed_starts_get_noise_of_their_own(tmp_path, cime):
    run_ensemble(ensemble_config(tmp_path, seeds=(3, 4)))
    found = [
        f90nml.read(tmp_path / "all" / f"unet-{seed}" / "user_nl_eam")["cam_inparm"]
        for seed in (3, 4)
    ]
    assert [group["seed_custom"] for group in found] == [3, 4]
    assert all(group["new_random"] and group["pertlim"] == 1e-14 for group in found)


def test_seed_without_amplitude_is_refused(tmp_path):
    with pytest.raises(ClimSimError, match=r"host_options\.perturbation: .* an amplitude > 0"):
        replace(case(tmp_path), seed=3)


def test_seed_of_a_branch_run_is_refused(tmp_path):
    with pytest.raises(ClimSimError, match=r"host_options\.perturbation: a branch run repeats"):
        run_online(replace(run_config(tmp_path), perturbation_seed=3))
