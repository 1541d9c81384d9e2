"""The IOOS compliance checker, asked for the CF conventions."""

from __future__ import annotations

from pathlib import Path

from compliance_checker.base import BaseCheck
from compliance_checker.suite import CheckSuite

VERSION = "cf:1.11"


def violations(path: Path) -> list[str]:
    """What a netCDF file violates of the CF conventions: requirements, not recommendations."""
    if VERSION not in CheckSuite.checkers:
        CheckSuite.load_all_available_checkers()
    suite = CheckSuite()
    groups, errors = suite.run_all(suite.load_dataset(str(path)), [VERSION])[VERSION]
    found = [f"{name}: {error}" for name, error in errors.items()]
    for group in groups:
        if group.weight >= BaseCheck.HIGH and group.value[0] < group.value[1]:
            found += [f"{group.name}: {message}" for message in group.msgs]
    return found
