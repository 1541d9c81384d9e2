"""Files of samples in the layout of the Kaggle competition become a store."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

import climsim.data.rows.forms as forms
import climsim.data.store.prepare as module
from climsim.data.rows.forms import columns_of, open_rows
from climsim.data.rows.samples import open_samples
from climsim.data.store.config import PrepareConfig, RowsConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.data.store.splits import SplitConfig
from climsim.errors import ClimSimError
from climsim.variables import VariableSet
from tests.data.rows_synthetic import SPACING, make_record, write_form
from tests.grids import N_COLUMNS

SPLIT = SplitConfig(0.5, 0.25, 0.25, gap_days=0.05)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return make_record(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def plain(record, tmp_path_factory):
    path = tmp_path_factory.mktemp("plain") / "s"
    config = PrepareConfig(record.folder, path, split=SPLIT, memory=False, block_steps=2, workers=1)
    return open_store(prepare(config))


def settings(record, raw, store, **more):
    return PrepareConfig(
        raw, store, grid=record.grid_file, split=SPLIT, block_steps=2, workers=1, **more
    )


def shuffled(record):
    order = np.random.default_rng(0).permutation(len(record.inputs))
    return record.table().take(order)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet", "npy", "h5"])
def test_every_form_gives_the_store_of_the_step_files(record, plain, tmp_path, form, monkeypatch):
    monkeypatch.setattr(forms, "_PIECE_ROWS", 10)
    raw, outputs = write_form(record, tmp_path, form)
    store = open_store(prepare(settings(record, raw, tmp_path / "s", outputs=outputs)))
    np.testing.assert_array_equal(store.times, plain.times)
    np.testing.assert_array_equal(store.split, plain.split)
    assert store.names == plain.names
    for name in store.names:
        values, expected = store.array(name)[...], plain.array(name)[...]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(values, expected, rtol=2e-5, atol=1e-6 * scale, err_msg=name)


def test_a_preparation_that_was_stopped_reads_on_where_it_was(record, tmp_path, monkeypatch):
    raw, _ = write_form(record, tmp_path, "csv")
    whole = open_store(prepare(settings(record, raw, tmp_path / "whole")))
    write, done = module.write_shard, []

    def limited(task):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(task.number)
        return write(task)

    monkeypatch.setattr(module, "write_shard", limited)
    with pytest.raises(KeyboardInterrupt):
        prepare(settings(record, raw, tmp_path / "s"))
    monkeypatch.setattr(module, "write_shard", write)
    seen = []
    store = prepare(settings(record, raw, tmp_path / "s"), lambda *counts: seen.append(counts))
    assert seen[0][0] == 4
    assert open_store(store).fingerprint == whole.fingerprint


def test_time_of_the_steps_is_what_rows_says(record, tmp_path):
    raw, _ = write_form(record, tmp_path, "parquet")
    rows = RowsConfig(start="0003-01-01", spacing=3600)
    store = open_store(prepare(settings(record, raw, tmp_path / "s", rows=rows)))
    assert np.diff(store.times).min() == 3600 != SPACING
    assert str(store.dataset.time.values[0]) == "0003-01-01 00:00:00"


def test_shuffled_rows_are_refused_by_the_first_that_moved(record, tmp_path):
    parquet.write_table(shuffled(record), tmp_path / "x.parquet")
    with pytest.raises(ClimSimError, match=r"row \d+: cam_in_LANDFRAC is .* expected the columns"):
        prepare(settings(record, tmp_path / "x.parquet", tmp_path / "s"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.drop_columns(["ptend_t_3"]),
            r"targets of 5 levels, found no column ptend_t_3",
        ),
        (lambda t: t.drop_columns(["state_ps"]), r"inputs of 5 levels, found no column state_ps"),
        (lambda t: t.slice(0, 20), rf"20 rows, expected a multiple of the {N_COLUMNS} columns"),
        (
            lambda t: t.set_column(
                3, "state_t_2", pa.array([*t["state_t_2"].to_pylist()[:-1], None])
            ),
            r"row 63: expected a number in state_t_2, found nan",
        ),
        (
            lambda t: t.set_column(2, "state_t_1", pa.array(np.zeros(len(t)))),
            r"implausible values in rows 1 to 7: state_t \(7\): expected physical units",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_one_line(record, tmp_path, change, message):
    parquet.write_table(change(record.table()), tmp_path / "x.parquet")
    with pytest.raises(ClimSimError, match=message):
        prepare(settings(record, tmp_path / "x.parquet", tmp_path / "s"))


def test_damaged_files_are_named(record, tmp_path):
    raw, _ = write_form(record, tmp_path, "csv")
    lines = raw.read_text().splitlines()
    raw.write_text("\n".join([*lines[:-1], lines[-1][:300]]))
    with pytest.raises(
        ClimSimError, match=r"train\.csv: cannot be read \(CSV parse error: .*Expec"
    ):
        prepare(settings(record, raw, tmp_path / "s"))
    raw.write_text("\n".join([*lines[:4], lines[4].replace(",", ",oops", 1), *lines[5:]]))
    with pytest.raises(ClimSimError, match=r"train\.csv: cannot be read \(.*oops"):
        prepare(settings(record, raw, tmp_path / "s"))
    whole, _ = write_form(record, tmp_path, "parquet")
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(ClimSimError, match=r"train\.parquet: cannot be read \(.*[Pp]arquet"):
        prepare(settings(record, whole, tmp_path / "s"))
    with pytest.raises(ClimSimError, match=r"none\.csv: no such file"):
        prepare(settings(record, tmp_path / "none.csv", tmp_path / "s"))


def test_targets_of_other_samples_are_refused(record, tmp_path):
    table = record.table()
    csv.write_csv(table, tmp_path / "in.csv")
    csv.write_csv(table.slice(1), tmp_path / "out.csv")
    samples = open_samples(tmp_path / "in.csv", record.levels, tmp_path / "out.csv")
    with pytest.raises(ClimSimError, match=r"out\.csv: 62 rows, expected 63 as in"):
        samples.count()
    with pytest.raises(ClimSimError, match=r"its rows are not those of"):
        next(samples.blocks(5))


def test_blocks_of_rows_do_not_depend_on_how_they_are_read(record, tmp_path, monkeypatch):
    raw, _ = write_form(record, tmp_path, "csv")
    monkeypatch.setattr(forms, "_PIECE", 6000)
    samples = open_samples(raw, record.levels)
    for size in (1, 5, 63, 100):
        blocks = list(samples.blocks(size))
        assert [b.first for b in blocks] == list(range(0, 63, size))
        ids = [name for block in blocks for name in block.ids]
        assert ids == [f"train_{k}" for k in range(63)]
        np.testing.assert_allclose(np.concatenate([b.inputs for b in blocks]), record.inputs)
        np.testing.assert_allclose(np.concatenate([b.targets for b in blocks]), record.targets)


def test_rows_are_read_by_one_process_only(record, tmp_path):
    raw, _ = write_form(record, tmp_path, "parquet")
    with pytest.raises(ClimSimError, match=r"dask=slurm: .*is a file of samples"):
        prepare(settings(record, raw, tmp_path / "s", dask="slurm"))


def test_group_of_rows_of_a_parquet_file_is_not_held_whole(tmp_path):
    """As pandas writes it, a group has a million rows, which took gigabytes."""
    rows, variables = 200_000, VariableSet("few", ("state_t",))
    numbers = np.random.default_rng(3).random((rows, 6))
    table = pa.table(dict(zip(columns_of(variables, 6), numbers.T, strict=True)))
    path = tmp_path / "x.parquet"
    parquet.write_table(
        table, path, row_group_size=rows, data_page_size=65536, use_dictionary=False
    )
    del table
    before, most, last = pa.total_allocated_bytes(), 0, None
    for block in open_rows(path).blocks(variables, 6, 1000):
        most, last = max(most, pa.total_allocated_bytes() - before), block.values
    assert 0 < most < path.stat().st_size / 4
    np.testing.assert_array_equal(last, numbers[-1000:])
