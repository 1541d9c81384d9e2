"""Freed memory is kept: allocating again touches no fresh pages."""

import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource, sys
import numpy
from climsim.allocation import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
def work():
    numpy.ones(5_000_000) + 1.0
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_kept_memory_is_used_again():
    faults = {}
    for how in ("default", "kept"):
        command = [sys.executable, "-c", COUNT_FAULTS, how]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        faults[how] = int(result.stdout)
    assert faults["kept"] < faults["default"] / 10
