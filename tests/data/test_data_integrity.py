"""What was changed, swapped or lost in a store is found when it is opened or read."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr

from climsim.data.store.config import PrepareConfig, VerifyConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.data.store.verify import verify
from climsim.errors import ClimSimError
from tests.data.synthetic import split_config, write_record
from tests.grids import make_grid

COORDINATES = ("lat", "lon", "area", "hyam", "hybm", "hyai", "hybi", "time", "split", "memory")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of two shards, each of two blocks."""
    folder = tmp_path_factory.mktemp("made")
    write_record(folder / "raw", 8, make_grid(3, 2))
    split = split_config(train=0.5, validation=0.25, test=0.25, gap_days=0)
    settings = {"split": split, "block_steps": 2, "shard_blocks": 2, "memory": False}
    return prepare(PrepareConfig(folder / "raw", folder / "store.zarr", workers=1, **settings))


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "store.zarr")


def contents(path):
    store = open_store(path)
    steps = np.arange(store.n_steps)
    grid = [getattr(store.grid, name) for name in COORDINATES[:7]]
    values = [store.values(name, steps) for name in store.names]
    return [store.times, store.split, store.memory, store.grid.p0, *grid, *values]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def attributes_changed(path, **changes):
    document = json.loads((path / "zarr.json").read_text())
    document["attributes"].update(changes)
    (path / "zarr.json").write_text(json.dumps(document))


def test_no_flipped_byte_changes_a_value_silently(made, copy):
    """Of every kind of file some bytes are flipped: an error of one line, or the same values."""
    whole, rng = contents(made), np.random.default_rng(3)
    kinds = ["zarr.json", *(f"{n}/c/0" for n in COORDINATES), "lat/zarr.json", "state_u/zarr.json"]
    kinds += ["state_u/c.0.0.0", "cam_out_PRECC/c.1.0", "shards/zarr.json", "shards/chunk/c/0/0/0"]
    kinds += ["shards/key/c/0/0", "shards/content/c/0/0", "shards/chunk/zarr.json"]
    messages = []
    for kind in kinds:
        file = copy / kind
        original = file.read_bytes()
        for position in rng.integers(0, len(original), 12 if kind == "zarr.json" else 4):
            flipped = bytearray(original)
            flipped[position] ^= 1 << int(rng.integers(8))
            file.write_bytes(flipped)
            try:
                assert same(contents(copy), whole), (kind, position)
            except ClimSimError as error:
                messages.append(str(error))
        file.write_bytes(original)
    assert len(messages) > 60
    assert all(str(copy) in text and "\n" not in text for text in messages)


@pytest.mark.parametrize("name", COORDINATES)
def test_deleted_chunk_of_a_coordinate_is_noticed(copy, name):
    (copy / name / "c" / "0").unlink()
    with pytest.raises(ClimSimError, match="its coordinates do not fit its fingerprint"):
        open_store(copy)


@pytest.mark.parametrize(
    "changes", [{"p0": 1e4}, {"variables": ["state_t"]}, {"configuration": "{}"}, {"plan": "x"}]
)
def test_edited_attributes_are_noticed(copy, changes):
    attributes_changed(copy, **changes)
    with pytest.raises(ClimSimError, match="its metadata do not fit their checksum"):
        open_store(copy)


def test_edited_units_of_a_variable_are_noticed(copy):
    zarr.open_group(copy)["state_t"].attrs["units"] = "degC"
    with pytest.raises(ClimSimError, match="its metadata do not fit their checksum"):
        open_store(copy)


def test_coordinates_written_anew_are_noticed(copy):
    values = zarr.open_group(copy)["split"]
    values[...] = 2 - values[...]
    with pytest.raises(ClimSimError, match="its coordinates do not fit its fingerprint"):
        open_store(copy)


@pytest.mark.parametrize(
    ("first", "second"),
    [("state_u/c.0.0.0", "state_u/c.1.0.0"), ("state_u/c.0.0.0", "state_v/c.0.0.0")],
)
def test_swapped_files_of_chunks_are_noticed_when_read(copy, first, second):
    one, two = (copy / first).read_bytes(), (copy / second).read_bytes()
    (copy / first).write_bytes(two)
    (copy / second).write_bytes(one)
    store = open_store(copy)
    with pytest.raises(ClimSimError, match=r"state_u/c\.0\.0\.0: .*whole, but of another block"):
        store.values("state_u", np.arange(2))
    report = verify(VerifyConfig(copy, workers=1))
    assert not report.ok
    assert "state_u/c.0.0.0" in str(report)


def test_full_check_of_a_whole_store_finds_nothing(made):
    report = verify(VerifyConfig(made, workers=1))
    assert report.ok
    assert str(report) == f"{made}: 8 steps in 2 shards: every value as it was prepared"


def test_full_check_names_every_damaged_chunk(copy):
    for name in ("state_t/c.1.0.0", "cam_out_PRECC/c.0.0"):
        content = bytearray((copy / name).read_bytes())
        content[3] ^= 1
        (copy / name).write_bytes(content)
    (copy / "state_v/c.1.0.0").unlink()
    report = verify(VerifyConfig(copy, workers=1))
    assert [line.split(":")[0] for line in report.problems] == [
        f"{copy}/{name}" for name in ("cam_out_PRECC/c.0.0", "state_t/c.1.0.0", "state_v/c.1.0.0")
    ]


def test_store_of_an_earlier_version_says_what_to_do(copy):
    attributes_changed(copy, format="climsim-store-1")
    with pytest.raises(ClimSimError, match=r"earlier version.*delete it and prepare it again"):
        open_store(copy)


def test_equal_data_have_equal_fingerprints_however_compressed(made, tmp_path):
    split = split_config(train=0.5, validation=0.25, test=0.25, gap_days=0)
    settings = {"split": split, "block_steps": 2, "shard_blocks": 2, "memory": False}
    path = tmp_path / "plain.zarr"
    prepare(PrepareConfig(made.parent / "raw", path, workers=1, compression="none", **settings))
    assert open_store(path).fingerprint == open_store(made).fingerprint


@pytest.mark.parametrize("name", ["zarr.json", "state_t/zarr.json"])
def test_metadata_that_are_no_json_are_named(copy, name):
    (copy / name).write_text('{"attributes": [1,')
    with pytest.raises(
        ClimSimError, match=rf"damaged store, .*\({name} is not valid JSON\): delete"
    ):
        open_store(copy)
