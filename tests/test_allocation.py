"""Freed memory is kept: allocating again touches no fresh pages."""

import ctypes
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from climsim.allocation import keep_freed_memory

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


def test_older_glibc_keeps_blocks_of_the_size_that_it_allows(monkeypatch):
    kept = {}

    def mallopt(option, value):
        if option == -3 and value > 2**25:
            return 0
        kept[option] = value
        return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    assert keep_freed_memory()
    assert kept == {-3: 2**25, -1: 2**31 - 1}
