from __future__ import annotations

import pytest

from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from tests.data.synthetic import OFFSETS, split_config, write_record


@pytest.fixture(scope="session")
def record(tmp_path_factory):
    """Folder of a raw record of 16 hours with a missing step, and the fields written to it."""
    folder = tmp_path_factory.mktemp("raw")
    return folder, dict(zip(OFFSETS, write_record(folder, OFFSETS), strict=True))


@pytest.fixture(scope="session")
def store(record, tmp_path_factory):
    """The record prepared in blocks of four steps."""
    path = tmp_path_factory.mktemp("prepared") / "store.zarr"
    prepare(PrepareConfig(record[0], path, split=split_config(), block_steps=4, workers=1))
    return open_store(path)
