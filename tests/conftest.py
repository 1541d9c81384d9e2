"""What all tests share, and how parallel workers share them out."""

from pathlib import Path

import pytest

from tests import SHARED


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of golden and reference data; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with reference data is not there")
    return SHARED


@pytest.hookimpl(tryfirst=True)  # Before xdist reads the marks.
def pytest_collection_modifyitems(items):
    """Give the tests of the compiled embedded model to one worker: it is compiled once."""
    for item in items:
        if "gcm_session" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("embedded_model"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker takes whole files, so that what a file or a folder shares is made once or twice."""
    from xdist.scheduler import LoadGroupScheduling

    class FilesAndGroups(LoadGroupScheduling):
        def _split_scope(self, nodeid):
            group = super()._split_scope(nodeid)
            return nodeid.partition("::")[0] if group == nodeid else group

    return FilesAndGroups(config, log) if config.getvalue("dist") == "loadgroup" else None
