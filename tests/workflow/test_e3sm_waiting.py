"""Cases of E3SM that an experiment submits and waits for."""

import dataclasses

import pytest

from climsim.errors import ClimSimError
from climsim.files import write_json
from climsim.hosts.e3sm import logs, waiting
from climsim.hosts.e3sm.case import describe_case
from climsim.hosts.e3sm.config import E3smConfig
from climsim.hosts.e3sm.executables import with_shared_executables


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
