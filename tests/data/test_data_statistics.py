"""Statistics: against numpy, in any chunking and order, on disk, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import netCDF4
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from climsim.data.raw.features import memory_needed
from climsim.data.statistics.config import StatisticsConfig
from climsim.data.statistics.moments import Moments, positive_moments
from climsim.data.statistics.quantiles import PERCENTS
from climsim.data.statistics.stage import write_statistics
from climsim.data.statistics.statistics import Statistics, compute_statistics
from climsim.data.store.chunks import BlockFiles
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.errors import ClimSimError
from climsim.integrity import CHECKSUM
from climsim.variables import variable
from tests.data.synthetic import split_config


@pytest.fixture(scope="module")
def statistics(store):
    return compute_statistics(store)


def test_moments_of_four_numbers_worked_by_hand():
    moments = Moments.of(np.array([[2.0], [4.0], [4.0], [10.0]]))
    assert (moments.count, moments.mean, moments.min, moments.max) == (4, 5, 2, 10)
    assert moments.std == pytest.approx(np.sqrt((9 + 1 + 1 + 25) / 4))


@given(
    hnp.arrays(np.float64, (23, 3), elements=st.floats(-1e4, 1e4, allow_subnormal=False)),
    st.lists(st.integers(0, 23), max_size=6),
    st.randoms(use_true_random=False),
)
def test_moments_are_invariant_to_chunking_and_order(data, cuts, random):
    parts = np.split(data, sorted(cuts))
    random.shuffle(parts)
    merged = reduce(Moments.__add__, (Moments.of(p) for p in parts), Moments.empty((3,)))
    scale = np.abs(data).max() + 1e-30
    np.testing.assert_array_equal(merged.count, 23)
    np.testing.assert_array_equal(merged.min, data.min(axis=0))
    np.testing.assert_array_equal(merged.max, data.max(axis=0))
    np.testing.assert_allclose(merged.mean, data.mean(axis=0), atol=1e-12 * scale)
    np.testing.assert_allclose(merged.std, data.std(axis=0), atol=1e-7 * scale)
    over = merged.over_levels()
    assert over.mean == pytest.approx(data.mean(), abs=1e-12 * scale)
    assert over.std == pytest.approx(data.std(), abs=1e-7 * scale)


def test_large_offset_does_not_spoil_the_deviation():
    data = 1e8 + np.random.default_rng(0).normal(0, 1e-2, (1000, 1))
    parts = [Moments.of(p) for p in np.split(data, 10)]
    assert reduce(Moments.__add__, parts).std == pytest.approx(data.std(axis=0), rel=1e-6)


def test_every_variable_agrees_with_numpy(store, statistics):
    assert set(statistics) == set(store.names)
    for name, values in statistics.items():
        data = store.array(name)[...][store.steps("train", memory_needed(name))].astype("f8")
        flat = data.reshape(-1, *data.shape[2:])
        np.testing.assert_allclose(values.mean, flat.mean(axis=0), rtol=1e-9, atol=1e-25)
        np.testing.assert_allclose(values.std, flat.std(axis=0), rtol=1e-9, atol=1e-25)
        np.testing.assert_array_equal(values.min, flat.min(axis=0))
        np.testing.assert_array_equal(values.max, flat.max(axis=0))
        np.testing.assert_array_equal(values.count, flat.shape[0])
        assert values.column_mean == pytest.approx(flat.mean(), rel=1e-9)
        assert values.column_std == pytest.approx(flat.std(), rel=1e-9)
        # So few samples that the sketch holds them all.
        exact = np.quantile(flat, np.array(PERCENTS) / 100, axis=0, method="inverted_cdf")
        np.testing.assert_array_equal(values.quantiles, exact)
        assert np.shape(values.mean) == ((5,) if variable(name).profile else ())


def test_positive_mean_is_that_of_condensate_above_the_threshold(store, statistics):
    data = store.array("state_qn")[...][store.steps("train")].reshape(-1, 5).astype("f8")
    for level in range(5):
        column = data[:, level]
        expected = column[column > 1e-7].mean()
        assert statistics["state_qn"].positive_mean[level] == pytest.approx(expected, rel=1e-12)
    assert np.isnan(statistics["state_t"].positive_mean).all()


def test_positive_mean_is_nan_without_condensate():
    moments = positive_moments(np.array([[1e-8, 2e-6], [1e-7, 4e-6]]))
    assert moments.count.tolist() == [0, 2]
    assert moments.mean[1] == pytest.approx(3e-6)


def test_statistics_do_not_depend_on_the_block_length(record, statistics, tmp_path):
    path = prepare(
        PrepareConfig(record[0], tmp_path / "s", split=split_config(), block_steps=9, workers=1)
    )
    other = compute_statistics(open_store(path))
    for name, values in statistics.items():
        np.testing.assert_allclose(other[name].mean, values.mean, rtol=1e-12, atol=1e-30)
        np.testing.assert_allclose(other[name].std, values.std, rtol=1e-10, atol=1e-30)


def test_workers_change_neither_values_nor_fingerprint(store, statistics, monkeypatch):
    monkeypatch.setattr("climsim.data.statistics.statistics._PART_BLOCKS", 2)
    seen = []
    one = compute_statistics(store)
    two = compute_statistics(store, progress=lambda *p: seen.append(p), workers=2)
    assert seen[-1][0] == seen[-1][1]
    assert len(seen) > 1
    assert two.fingerprint == one.fingerprint
    for name, values in statistics.items():
        np.testing.assert_allclose(two[name].mean, values.mean, rtol=1e-12, atol=1e-30)
        np.testing.assert_array_equal(two[name].quantiles, values.quantiles)


def test_statistics_come_from_their_split_alone(store, statistics):
    validation = compute_statistics(store, "validation")
    assert validation["state_t"].count[0] == store.steps("validation").size * 7
    assert not np.allclose(validation["state_t"].mean, statistics["state_t"].mean)


def test_round_trip_keeps_values_and_fingerprint(statistics, tmp_path):
    statistics.save(tmp_path / "s.nc")
    read = Statistics.open(tmp_path / "s.nc")
    assert read.fingerprint == statistics.fingerprint
    assert list(read) == list(statistics)
    assert (read.split, read.store, read.n_levels) == ("train", statistics.store, 5)
    for name, values in statistics.items():
        np.testing.assert_array_equal(read[name].std, values.std)
        np.testing.assert_array_equal(read[name].quantiles, values.quantiles)


def test_file_of_quantiles_is_labelled(statistics, tmp_path):
    import xarray

    statistics.save(tmp_path / "s.nc")
    with xarray.open_dataset(tmp_path / "s.nc") as file:
        table = file["profile_quantile"]
        assert table.dims == ("percentile", "profile", "level")
        median = table.sel(percentile=50, profile="state_u").values
        np.testing.assert_array_equal(median, statistics["state_u"].quantiles[PERCENTS.index(50)])
        assert file["scalar_quantile"].sel(percentile=90, scalar="state_ps").size == 1


def test_fingerprint_tells_values_apart(store, statistics):
    assert compute_statistics(store).fingerprint == statistics.fingerprint
    assert compute_statistics(store, "test").fingerprint != statistics.fingerprint


@pytest.mark.parametrize(("name", "index"), [("profile_mean", (0, 0)), ("scalar_quantile", (3, 2))])
def test_changed_file_is_noticed(statistics, tmp_path, name, index):
    statistics.save(tmp_path / "s.nc")
    with netCDF4.Dataset(tmp_path / "s.nc", "a") as file:
        file[name][index] += 1.0
    with pytest.raises(ClimSimError, match="changed after writing"):
        Statistics.open(tmp_path / "s.nc")


@pytest.mark.parametrize("change", [{"format": "climsim-statistics-1"}, {"split": "test"}])
def test_statistics_that_are_of_another_version_or_changed_are_made_again(
    store, statistics, tmp_path, caplog, change
):
    path = tmp_path / "s.nc"
    statistics.save(path)
    with netCDF4.Dataset(path, "a") as file:
        file.setncatts(change)
    config = StatisticsConfig(store.path, path, workers=1)
    assert write_statistics(config) == path
    assert "they are computed now" in caplog.text
    assert Statistics.open(path).fingerprint == statistics.fingerprint
    made = path.stat().st_mtime_ns
    write_statistics(config)
    assert path.stat().st_mtime_ns == made


def test_hash_of_the_values_has_a_name_of_its_own_and_is_found_under_the_former(
    statistics, tmp_path
):
    statistics.save(tmp_path / "s.nc")
    with netCDF4.Dataset(tmp_path / "s.nc", "a") as file:
        # Elsewhere `checksum` is the hash of a whole file: with it the file would seem damaged.
        assert CHECKSUM not in file.ncattrs()
        file.renameAttribute("values_checksum", CHECKSUM)
    assert Statistics.open(tmp_path / "s.nc").fingerprint == statistics.fingerprint


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ClimSimError, match="no such file"):
        Statistics.open(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("no netCDF")
    with pytest.raises(ClimSimError, match="not a statistics file"):
        Statistics.open(tmp_path / "text.nc")


def test_store_of_another_content_or_level_count_is_refused(record, statistics, store, tmp_path):
    statistics.check_store(store)
    path = prepare(
        PrepareConfig(
            record[0], tmp_path / "s", split=split_config(train_stride=2), block_steps=4, workers=1
        )
    )
    with pytest.raises(ClimSimError, match="computed from another store"):
        statistics.check_store(open_store(path))
    other = Statistics(statistics.variables, 60, "train", statistics.store)
    with pytest.raises(ClimSimError, match="the store has 5 levels, the statistics 60"):
        other.check_store(store)


def test_statistics_of_another_store_serve_where_that_is_asked_for(statistics, store):
    elsewhere = replace(statistics, store="another")
    elsewhere.check_store(store, any_content=True)
    slower = replace(elsewhere, time_step=1800.0)
    with pytest.raises(ClimSimError, match="time step of 1200 s, the statistics 1800 s"):
        slower.check_store(store, any_content=True)


def test_unknown_variable_lists_the_known(statistics):
    with pytest.raises(ClimSimError, match="unknown variable of the statistics 'state_x'"):
        statistics["state_x"]


def test_nan_in_the_store_stays_loud(record, tmp_path, monkeypatch):
    path = prepare(
        PrepareConfig(record[0], tmp_path / "s", split=split_config(), block_steps=4, workers=1)
    )
    read = BlockFiles.read

    def with_nan(self, block, memory=None):
        values = read(self, block, memory)
        if self.name == "state_v" and block == 0:
            values[3, 2, 1] = np.nan
        return values

    monkeypatch.setattr(BlockFiles, "read", with_nan)
    with pytest.raises(ClimSimError, match="state_v has values that are not finite"):
        compute_statistics(open_store(path))
