"""The whole chain as a user runs it, on the embedded model, killed on the way."""

import os
import signal
import subprocess
import sys
import time

import pytest
import xarray as xr

from climsim.files import read_json

pytestmark = pytest.mark.slow

# One member, half a day of data, one epoch, six hours online: every stage for real, not for skill.
OVERRIDES = (
    "members.networks=[unet]",
    "members.recipes=[standard]",
    "stages.generate.days=0.5",
    "+stages.prepare.split.gap_days=0.05",
    "+stages.prepare.split.train=0.6",
    "+stages.prepare.split.validation=0.2",
    "+stages.prepare.split.test=0.2",
    "stages.train.trainer.epochs=1",
    "online.days=0.25",
)


def command(folder):
    return [sys.executable, "-m", "climsim", "experiment", "demo", f"folder={folder}", *OVERRIDES]


def kill_when(process, reached, seconds=900.0):
    """Kill the whole process group, kill -9, as soon as a condition holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None and not reached():
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_chain_survives_kills_and_ends_in_a_report(tmp_path):
    folder = tmp_path / "study"
    for reached in (
        lambda: len(list(folder.glob("raw/*/*.mlo.*"))) > 5,
        lambda: (folder / "members").exists(),
        lambda: any(folder.glob("online/*/record.json")),
    ):
        kill_when(subprocess.Popen(command(folder), start_new_session=True), reached)
        assert not (folder / "report.html").exists()
    done = subprocess.run(command(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"report: {folder / 'report.html'}" in done.stdout
    member = "unet-standard-7"
    with xr.open_dataset(folder / "offline" / f"{member}.nc") as offline:
        assert offline.attrs["member"] == member
        assert float(offline.r2_ptend_t.max()) > -1.0
    for case in (member, "reference", "reference_perturbed"):
        assert read_json(folder / "online" / case / "record.json")["status"] == "complete"
    page = (folder / "report.html").read_text()
    assert "data:image/png;base64" in page
    again = subprocess.run(command(folder), capture_output=True, text=True, check=True)
    assert "generate" not in again.stdout
