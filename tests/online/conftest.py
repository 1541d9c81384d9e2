"""One compiled embedded model for all tests of a session."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def gcm_cache() -> Path:
    """Folder of compiled programs: CLIMSIM_CACHE, or the user's."""
    from climsim.hosts.gcm.compilation import cache_root

    return Path(os.environ.get("CLIMSIM_CACHE", cache_root()))


@pytest.fixture(scope="session")
def gcm_session(gcm_cache, tmp_path_factory):
    """The embedded model with full physics and hybrid compiled, and a restart of its start."""
    from climsim.hosts.gcm.config import GcmConfig
    from climsim.hosts.gcm.host import GcmHost

    # With turbulence in the emulated term: the more of the physics a model replaces, the more is
    # tested here. What the host does when it retains it has a module of its own.
    host = GcmHost(GcmConfig(retain_turbulence=False, cache_folder=gcm_cache))
    start = tmp_path_factory.mktemp("gcm") / "start.npz"
    host.save(start)
    return host, start


@pytest.fixture
def gcm(gcm_session):
    """The embedded model at its shipped start state."""
    host, start = gcm_session
    host.restore(start)
    return host
