"""Cases of E3SM that an experiment submits and waits for."""

import dataclasses

import f90nml
import pytest

from climsim.configuration import build_config
from climsim.errors import ClimSimError
from climsim.files import write_json
from climsim.hosts.e3sm import logs, waiting
from climsim.hosts.e3sm.case import describe_case
from climsim.hosts.e3sm.config import E3smConfig
from climsim.hosts.e3sm.executables import with_shared_executables
from climsim.hosts.e3sm.keys import case_config
from climsim.hosts.e3sm.namelist import user_nl_eam
from climsim.runs.config import RunConfig
from climsim.workflow.maker import Jobs
from climsim.workflow.plan import joint_jobs, make_plan
from climsim.workflow.run import experiment_config


@pytest.fixture
def case(tmp_path):
    return E3smConfig(
        "unet_7", tmp_path / "unet_7", tmp_path / "E3SM", "pm", "m1", purpose="mmf",
        reference_folder=tmp_path,
    )  # fmt: skip


def follow(case, monkeypatch, states, resubmissions=1):
    """Wait for a case that goes through these states; what was advanced, and what was seen."""
    left = [logs.CaseState(status, days=3.0, message="words") for status in states]
    advanced, seen = [], []

    def look(_):
        return left.pop(0)

    def advance(config):
        advanced.append(config)
        return left.pop(0)

    monkeypatch.setattr(waiting.logs, "case_state", look)
    waiting.wait_for(case, advance, lambda s: seen.append(s.status), 0.0, resubmissions)
    return advanced, seen


def test_case_is_submitted_and_followed_to_its_end(case, monkeypatch):
    advanced, seen = follow(case, monkeypatch, ["prepared", "submitted", "running", "complete"])
    assert len(advanced) == 1
    assert seen == ["submitted", "running", "complete"]


def test_case_that_runs_already_is_only_followed(case, monkeypatch):
    advanced, seen = follow(case, monkeypatch, ["running", "unstable"])
    assert (advanced, seen) == ([], ["running", "unstable"])


def test_failed_job_is_submitted_again_as_often_as_allowed(case, monkeypatch):
    advanced, _ = follow(case, monkeypatch, ["running", "failed", "submitted", "complete"])
    assert len(advanced) == 1
    with pytest.raises(ClimSimError, match=r"unet_7: failed 2 times after 3 days \(words\)"):
        follow(case, monkeypatch, ["running", "failed", "submitted", "failed"])


def shared(case):
    (taken,) = with_shared_executables([case])
    return taken.executable


def test_only_the_first_of_equal_cases_is_built(case, tmp_path):
    assert shared(case) is None
    first = tmp_path / "unet_43"
    (first / "build").mkdir(parents=True)
    executable = first / "build" / "e3sm.exe"
    executable.touch()
    write_json(first / "case.json", describe_case(case))
    # Not before its build has ended.
    assert shared(case) is None
    (first / "built").touch()
    assert shared(case) == executable
    for other in ({"compset": "F2010-MMF2"}, {"cpp_definitions": ("DIAGNOSTICS",)}):
        changed = dataclasses.replace(case, **other)
        assert shared(changed) is None


def test_case_keeps_the_executable_that_it_was_created_with(case, tmp_path):
    executable = tmp_path / "unet_43" / "build" / "e3sm.exe"
    created = dataclasses.replace(case, executable=executable)
    write_json(case.folder / "case.json", describe_case(created))
    assert shared(case) == executable
    write_json(case.folder / "case.json", describe_case(case))
    assert shared(case) is None


def test_cases_that_need_different_executables_do_not_share_one(case):
    wider = dataclasses.replace(case, case="wider", folder=case.folder.parent / "wider", tasks=32)
    again = dataclasses.replace(case, case="again", folder=case.folder.parent / "again")
    taken = [c.executable for c in with_shared_executables([case, wider, again])]
    assert taken == [None, None, case.build_folder / "e3sm.exe"]


def paper_jobs(tmp_path, *overrides):
    """Settings of the jobs of the published study, by name, for one member."""
    (tmp_path / "store.zarr").mkdir(exist_ok=True)
    given = [f"{key}=x" for key in ("machine", "account")]
    given += [f"source={tmp_path}", f"reference_folder={tmp_path}"]
    config = experiment_config("paper", [
        f"folder={tmp_path}/paper", f"source.store={tmp_path}/store.zarr", "members.seeds=[7]",
        "members.networks=[unet]", "members.recipes=[standard]",
        *(f"online.host_options.{text}" for text in given), *overrides,
    ])  # fmt: skip
    make = Jobs(config, None)
    jobs = [*make_plan(config, make), *joint_jobs(make, ["unet-standard-7"], ["unet"])]
    return {job.name: job.settings for job in jobs}


def test_paper_asks_e3sm_for_the_published_streams_and_leaves_two_days_of_december_out(tmp_path):
    jobs = paper_jobs(tmp_path)
    run = build_config(RunConfig, jobs["online_reference-mmf1"])
    history = f90nml.reads(user_nl_eam(case_config(run)))["cam_history_nl"]
    assert (history["nhtfrq"], history["mfilt"]) == ([0, -24, -1], [1, 1, 1])
    assert history["avgflag_pertape"] == ["A", "A", "I"]
    assert {"PRECT", "LANDFRAC", "ICEFRAC", "OCNFRAC", "CLDLIQ"} <= set(history["fincl3"])
    # The run begins on the 30th of December 0002: its second day is the last of the year.
    assert jobs["evaluate_online"]["skip_days"] == 2.0
    second = build_config(RunConfig, jobs["online_reference-mmf2"])
    assert "cam_inparm" in f90nml.reads(user_nl_eam(case_config(second)))


def test_hourly_fields_of_an_experiment_reach_the_namelist_of_every_run(tmp_path):
    jobs = paper_jobs(tmp_path, "online.hourly_fields=[PRECT,LANDFRAC]")
    for name in ("online_reference-mmf1", "online_reference-mmf2"):
        case = case_config(build_config(RunConfig, jobs[name]))
        history = f90nml.reads(user_nl_eam(case))["cam_history_nl"]
        assert history["fincl3"] == ["PRECT", "LANDFRAC"]
    assert jobs["online_run-unet-standard-7"]["hourly_fields"] == ["PRECT", "LANDFRAC"]
