"""The published forms other than raw pairs: expanded inputs, stacked arrays, other grids."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest

from climsim.data.raw.features import EXPANDED_FILE, STORED
from climsim.data.raw.steps import list_steps
from climsim.data.reading.reader import BlockReader
from climsim.data.reading.stacked import open_stacked
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.data.store.splits import SplitConfig
from climsim.errors import ClimSimError
from climsim.files import remove
from climsim.variables import STANDARD, TARGETS, variable
from tests.data.synthetic import GAP, OFFSETS, START, STEP, write_record
from tests.grids import N_COLUMNS, N_LEVELS, make_grid

ALL = SplitConfig(1.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def plain(record, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "s"
    return open_store(prepare(PrepareConfig(record[0], path, split=ALL, workers=1)))


def expand(source, target, store, tag, offsets):
    """Write input files with the previous-step features of a store, as they are published."""
    target.mkdir()
    for step in list_steps(source):
        offset = (step.seconds - START) // STEP
        if offset not in offsets:
            continue
        path = target / step.before.name.replace(".mli.", f".{tag}.")
        path.write_bytes(step.before.read_bytes())
        row = int(np.flatnonzero(store.times == step.seconds)[0])
        with netCDF4.Dataset(path, "a") as file:
            for name in EXPANDED_FILE:
                axes = ("lev", "ncol") if variable(name).profile else ("ncol",)
                file.createVariable(name, "f8", axes)[...] = store.array(name)[row].T


@pytest.mark.parametrize("tag", ["mlexpand", "ml2steploc"])
def test_expanded_files_give_the_same_store_without_their_neighbours(record, plain, tmp_path, tag):
    offsets = [k for k in OFFSETS if k % 5 == 3 and k - 1 != GAP and k - 2 != GAP]
    expand(record[0], tmp_path / "expanded", plain, tag, offsets)
    grid = record[0] / "ClimSim_low-res_grid-info.nc"
    config = PrepareConfig(
        tmp_path / "expanded", tmp_path / "s", outputs=record[0], grid=grid, split=ALL, workers=1
    )
    store = open_store(prepare(config))
    assert ((store.times - START) // STEP).tolist() == offsets
    assert (store.memory == 2).all()
    rows = np.searchsorted(plain.times, store.times)
    for name in STORED:
        np.testing.assert_allclose(
            store.array(name)[...], plain.array(name)[...][rows], rtol=1e-5, atol=1e-14
        )


def test_folder_of_outputs_must_exist(record, tmp_path):
    with pytest.raises(ClimSimError, match=r"outputs=.*no such folder"):
        list_steps(record[0], tmp_path / "none")


def test_expanded_file_without_its_features_is_named(record, plain, tmp_path):
    expand(record[0], tmp_path / "e", plain, "mlexpand", [5])
    (step,) = list_steps(tmp_path / "e", record[0])
    source = next(s for s in list_steps(record[0]) if s.seconds == step.seconds)
    step.before.write_bytes(source.before.read_bytes())
    config = PrepareConfig(
        tmp_path / "e",
        tmp_path / "s",
        outputs=record[0],
        grid=record[0] / "ClimSim_low-res_grid-info.nc",
        split=ALL,
    )
    with pytest.raises(ClimSimError, match=r"mlexpand.*state_t_dyn is missing"):
        prepare(config)


def test_other_grids_pass_through_the_same_code(tmp_path):
    write_record(tmp_path / "raw", 6, make_grid(columns=50, levels=9))
    store = open_store(
        prepare(PrepareConfig(tmp_path / "raw", tmp_path / "s", split=ALL, workers=1))
    )
    assert (store.n_columns, store.n_levels) == (50, 9)
    x, y = next(iter(BlockReader(store, batch_size=11)))
    assert (x.shape, y.shape) == ((11, STANDARD.size(9)), (11, TARGETS.size(9)))


@pytest.mark.parametrize(("index", "name"), [(0, "standard"), (1, "targets")])
def test_stacked_arrays_are_labelled_by_their_width(plain, tmp_path, index, name):
    reader = BlockReader(plain, shuffle=False, batch_size=64)
    stacked = np.concatenate([batch[index].numpy() for batch in reader])
    np.save(tmp_path / "x.npy", stacked)
    dataset = open_stacked(tmp_path / "x.npy", columns=N_COLUMNS, levels=N_LEVELS)
    assert dataset.attrs["variable_set"] == name
    for key in dataset:
        np.testing.assert_array_equal(dataset[key].values, plain.array(key)[...])
    assert dataset[next(iter(dataset))].dims == ("time", "column", "level")


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.zeros((8, 999), "f4"), {}, "999 features fit 0 sets"),
        (np.zeros((8, 124), "f4"), {"columns": 3}, "no multiple of 3 columns"),
        (np.zeros((8, 124), "i4"), {}, "of int32"),
        (np.zeros(8, "f4"), {}, r"shape \(8,\)"),
        (np.zeros((8, 124), "f4"), {"variables": "v9"}, "unknown variable set 'v9'"),
        (np.zeros((8, 124), "f4"), {"variables": "standard"}, "124 features fit 0 sets"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, array, options, message):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ClimSimError, match=message):
        open_stacked(tmp_path / "x.npy", **{"columns": 4, **options})


def test_cut_arrays_are_refused(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((8, 124), "f4"))
    whole = path.read_bytes()
    for percent in range(100):
        path.write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(ClimSimError, match=r"x\.npy"):
            open_stacked(path, columns=4)
    remove(path)
    with pytest.raises(ClimSimError, match="no such file"):
        open_stacked(path)


def test_archive_in_place_of_a_stacked_array_lists_what_it_holds(tmp_path):
    np.savez(tmp_path / "x.npz", inputs=np.zeros((4, 3)), outputs=np.zeros(2))
    with pytest.raises(ClimSimError, match=r"x\.npz: .*found an archive \(\.npz\) of inputs, out"):
        open_stacked(tmp_path / "x.npz")
