"""What all tests share."""

from pathlib import Path

import pytest

from tests import SHARED


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of golden and reference data; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with reference data is not there")
    return SHARED
