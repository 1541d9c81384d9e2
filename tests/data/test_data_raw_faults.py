"""Raw folders as users have them: links, other time steps, wrong grids, implausible values."""

from __future__ import annotations

import json
import os
import shutil

import netCDF4
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climsim.data.raw.check import check
from climsim.data.raw.config import CheckConfig
from climsim.data.raw.hub import VERIFIED
from climsim.data.raw.pressure import pressure_problem
from climsim.data.raw.steps import (
    GRID_FILE,
    list_steps,
    read_grid_info,
    read_step,
    write_grid_info,
)
from climsim.data.raw.time_step import settle_time_step
from climsim.data.raw.units import foreign_unit
from climsim.data.reading.reader import BlockReader, check_inputs
from climsim.data.statistics.statistics import Statistics, compute_statistics
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import make_plan, prepare
from climsim.data.store.splits import SplitConfig
from climsim.errors import ClimSimError
from climsim.files import stored_attributes
from climsim.provenance import trace
from climsim.transforms import from_statistics
from tests.data.synthetic import START, STEP, write_record
from tests.grids import make_grid

ALL = SplitConfig(1.0, 0.0, 0.0)
GRID = make_grid()


def config(raw, **changes):
    store = raw.parent / f"{raw.name}.zarr"
    return PrepareConfig(raw, store, **{"split": ALL, "workers": 1, **changes})


def edit(path, change):
    with netCDF4.Dataset(path, "a") as file:
        file.set_auto_maskandscale(False)
        change(file)


def edit_inputs(raw, change):
    for step in list_steps(raw):
        edit(step.before, change)


def checked(raw, **options):
    return check(CheckConfig(raw, workers=1, **options))


def counted(report, kind):
    return sum(month.counts[kind] for month in report.months)


@pytest.fixture
def raw(tmp_path):
    write_record(tmp_path / "raw", 4, GRID)
    return tmp_path / "raw"


@pytest.fixture
def linked(raw):
    """Four steps of their own, and four of another month behind a link."""
    month = 28 * 72 * STEP
    write_record(raw.parent / "elsewhere", 4, GRID, start=START + month)
    os.symlink(raw.parent / "elsewhere" / "0001-03", raw / "0001-03")
    return raw


# --- links


def test_linked_month_is_prepared_and_checked(linked):
    assert open_store(prepare(config(linked))).n_steps == 8
    assert [m.month for m in checked(linked, stride=1).months][:2] == ["0001-02", "0001-03"]


def test_linked_month_counts_in_provenance(linked):
    store = prepare(config(linked))
    (link,) = trace(store).inputs
    assert link.state == "unchanged"
    os.utime(list_steps(linked)[-1].before, (1, 1))
    (link,) = trace(store).inputs
    assert link.state == "changed"


def test_folder_of_links_alone_is_known_as_raw_data(raw, tmp_path):
    (tmp_path / "links").mkdir()
    os.symlink(raw / "0001-02", tmp_path / "links" / "0001-02")
    assert trace(tmp_path / "links").kind == "raw step pairs"


def test_loop_of_links_ends_and_is_named(raw, caplog):
    os.symlink(raw, raw / "0001-02" / "loop")
    assert len(list_steps(raw)) == 4
    assert "loop: not followed: the same folder as" in caplog.text
    report = checked(raw)
    assert report.ok
    assert "loop" in str(report)


def test_link_beside_its_own_folder_brings_no_step_twice(raw):
    os.symlink(raw / "0001-02", raw / "0001-01-latest")
    steps = list_steps(raw)
    assert len(steps) == 4
    assert {s.before.parent.name for s in steps} == {"0001-02"}


def test_link_to_nowhere_is_named_and_fails_the_check(raw, caplog):
    os.symlink(raw.parent / "unmounted", raw / "0001-03")
    assert len(list_steps(raw)) == 4
    assert "0001-03: not followed (No such file or directory)" in caplog.text
    report = checked(raw)
    assert not report.ok
    assert "0001-03: not followed" in str(report)


# --- time step


def test_tendencies_are_taken_over_the_spacing_of_the_files(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tests.data.synthetic.STEP", 900)
    fields = write_record(tmp_path / "raw", 4, GRID, time_step=None)
    store = open_store(prepare(config(tmp_path / "raw")))
    assert store.time_step == 900
    assert store.memory.tolist() == [0, 1, 2, 2]
    before, after = fields[0]
    expected = (after["state_u"] - before["state_u"]).T / 900
    np.testing.assert_allclose(store.array("ptend_u")[0], expected, rtol=1e-5)
    assert "tendencies are taken over 900 s" in caplog.text
    report = checked(tmp_path / "raw")
    assert report.ok
    assert "time step 900 s" in str(report)
    assert compute_statistics(store).time_step == 900


def test_spacing_that_contradicts_the_declared_step_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.data.synthetic.STEP", 900)
    write_record(tmp_path / "raw", 4, GRID, time_step=1200)
    message = r"900 s apart, which is no multiple .* 1200 s: correct time_step_s in the files"
    with pytest.raises(ClimSimError, match=message):
        prepare(config(tmp_path / "raw"))
    report = checked(tmp_path / "raw")
    assert not report.ok
    assert "no multiple of the time step of 1200 s" in str(report)


def test_strided_record_keeps_the_step_that_its_files_declare(tmp_path):
    fields = write_record(tmp_path / "raw", [0, 7, 14], GRID)
    store = open_store(prepare(config(tmp_path / "raw")))
    assert store.time_step == STEP
    before, after = fields[1]
    expected = (after["state_t"] - before["state_t"]).T / STEP
    np.testing.assert_allclose(store.array("ptend_t")[1], expected, rtol=1e-5)


def test_strided_download_has_the_published_step(tmp_path):
    write_record(tmp_path / "data" / "train", [0, 7, 14], GRID, time_step=None)
    (tmp_path / "data" / VERIFIED).touch()
    assert make_plan(config(tmp_path / "data" / "train")).time_step == 1200


@pytest.mark.parametrize("steps", [[0, 7, 14], [0]])
def test_step_that_nothing_tells_is_required_as_a_key(tmp_path, steps):
    write_record(tmp_path / "raw", steps, GRID, time_step=None)
    with pytest.raises(ClimSimError, match="time_step=1200"):
        prepare(config(tmp_path / "raw"))
    assert make_plan(config(tmp_path / "raw", time_step=1200)).time_step == 1200
    assert not checked(tmp_path / "raw").ok
    if len(steps) > 1:
        assert checked(tmp_path / "raw", stride=7).ok


def test_file_of_another_step_in_a_record_is_named(raw):
    last = list_steps(raw)[-1].before
    edit(last, lambda file: file.setncattr("time_step_s", 600.0))
    with pytest.raises(ClimSimError, match=rf"{last.name}: time_step_s is 600 s"):
        prepare(config(raw))
    assert counted(checked(raw), "step") == 1


@pytest.mark.parametrize("declared", ["twenty minutes", 0.5, -1200.0, np.inf])
def test_declared_step_that_is_no_time_is_refused(raw, declared):
    edit(list_steps(raw)[0].before, lambda file: file.setncattr("time_step_s", declared))
    with pytest.raises(ClimSimError, match=r"time_step_s is .*, expected whole seconds: correct"):
        prepare(config(raw))


def test_key_that_contradicts_the_files_is_refused(raw):
    with pytest.raises(ClimSimError, match=r"time_step=900: .* declares 1200 s"):
        prepare(config(raw, time_step=900))


@given(
    step=st.sampled_from([300, 600, 900, 1200, 1500, 1800]),
    gaps=st.lists(st.integers(1, 5), min_size=1, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_step_of_a_record_with_gaps_is_found_where_two_steps_adjoin(raw_step_files, step, gaps):
    seconds = np.cumsum([0, *(g * step for g in (1, *gaps))])
    files = [raw_step_files(int(s)) for s in seconds]
    assert settle_time_step(files[0].before.parent, files) == step


@pytest.fixture(scope="module")
def raw_step_files(tmp_path_factory):
    """Builds entries of a listing that all stand for one file without a declared step."""
    folder = tmp_path_factory.mktemp("step") / "raw"
    write_record(folder, 1, GRID, time_step=None)
    (step,) = list_steps(folder)
    return lambda seconds: type(step)(seconds, step.before, step.after)


# --- levels, pressure, units, grid


def test_levels_upside_down_are_refused(raw):
    def turn(file):
        for variable in file.variables.values():
            if variable.dimensions == ("lev", "ncol"):
                variable[...] = variable[...][::-1]

    edit_inputs(raw, turn)
    for options in ({}, {"check_ranges": False}):
        with pytest.raises(ClimSimError, match=r"state_pmid decreases with level"):
            prepare(config(raw, **options))
    assert counted(checked(raw), "pressure") == 4
    (raw / GRID_FILE).unlink()
    assert counted(checked(raw), "pressure") == 4


@pytest.mark.parametrize(("factor", "cause"), [(0.01, "in hPa"), (0.5, "give the grid file")])
def test_pressure_in_other_units_is_refused(raw, factor, cause):
    edit_inputs(raw, lambda f: f["state_pmid"].__setitem__(..., factor * f["state_pmid"][...]))
    with pytest.raises(ClimSimError, match=rf"state_pmid .*{cause}"):
        prepare(config(raw))
    assert counted(checked(raw), "pressure") == 4


def test_grid_file_of_another_model_is_refused(raw):
    other = make_grid()
    fields = {n: getattr(other, n) for n in ("lat", "lon", "area", "hybm", "hybi")}
    shifted = type(other)(**fields, hyam=other.hyam + 0.03, hyai=other.hyai + 0.03)
    write_grid_info(raw / GRID_FILE, shifted, "other model")
    with pytest.raises(ClimSimError, match="give the grid file of the model that wrote"):
        prepare(config(raw))


def turn_levels(file):
    for name in ("hyam", "hybm", "hyai", "hybi"):
        file[name][...] = file[name][...][::-1]


@given(
    factor=st.one_of(st.floats(0.001, 0.98), st.floats(1.02, 1000.0)),
    surface=st.lists(st.floats(5e4, 1.1e5), min_size=7, max_size=7),
)
def test_pressure_of_the_grid_passes_and_scaled_pressure_does_not(factor, surface):
    surface = np.array(surface)
    pressure = GRID.midpoint_pressure(surface)
    assert not pressure_problem(pressure, surface, GRID)
    assert pressure_problem(factor * pressure, surface, GRID)
    assert "decreases" in pressure_problem(pressure[::-1], surface, GRID)


@given(st.permutations(range(GRID.n_levels)))
def test_any_other_order_of_levels_is_noticed(order):
    surface = np.linspace(9e4, 1.0e5, GRID.n_columns)
    pressure = GRID.midpoint_pressure(surface)[list(order)]
    assert bool(pressure_problem(pressure, surface, GRID)) == (order != sorted(order))


def test_unit_of_a_variable_is_read(raw):
    edit_inputs(raw, lambda file: file["state_pmid"].setncattr("units", "hPa"))
    with pytest.raises(ClimSimError, match=r"state_pmid is in 'hPa', expected 'Pa'"):
        prepare(config(raw))
    assert counted(checked(raw), "units") == 4


@pytest.mark.parametrize(
    ("expected", "given_unit", "foreign"),
    [
        ("Pa", "hPa", True), ("Pa", "mb", True), ("Pa", "Pa", False), ("Pa", "", False),
        ("K", "degC", True), ("kg kg-1", "g/kg", True), ("kg kg-1", "kg/kg", False),
        ("m s-1", "mm day-1", True), ("W m-2", "W/m2", False), ("degrees_north", "radians", True),
    ],
)  # fmt: skip
def test_units_known_to_be_others_are_told_from_spellings(expected, given_unit, foreign):
    assert foreign_unit(expected, given_unit) is foreign


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["lat"].__setitem__(..., np.deg2rad(GRID.lat)), "is it in radians"),
        (lambda f: f["lat"].__setitem__(..., GRID.lon), "are lat and lon swapped"),
        (lambda f: f["P0"].__setitem__(..., 1000.0), "P0 is 1000, expected about 100000 Pa"),
        (lambda f: f["P0"].setncattr("units", "hPa"), "P0 is in 'hPa'"),
        (lambda f: f["lat"].setncattr("units", "radians"), "lat is in 'radians'"),
        (lambda f: turn_levels(f), "hyam . hybm to increase"),
    ],
)
def test_implausible_grid_file_is_refused(tmp_path, change, message):
    path = tmp_path / GRID_FILE
    write_grid_info(path, GRID, "synthetic")
    edit(path, change)
    with pytest.raises(ClimSimError, match=message) as caught:
        read_grid_info(path)
    assert str(path) in str(caught.value)


# --- forms of files and folders


@pytest.mark.parametrize(
    ("kind", "length"),
    [("NETCDF3_64BIT_DATA", 1), ("NETCDF3_64BIT_DATA", None), ("NETCDF4", 1), ("NETCDF4", None)],
)
def test_files_with_a_time_dimension_of_length_one_are_read(raw, tmp_path, kind, length):
    steps = list_steps(raw)
    plain = read_step(steps[0].before)
    for path in (steps[0].before, steps[0].after):
        with_time(path, kind, length, times=1)
    read = read_step(steps[0].before)
    for name, value in {**plain.before, **plain.after}.items():
        np.testing.assert_array_equal({**read.before, **read.after}[name], value)


@pytest.mark.parametrize(
    ("kind", "length"), [("NETCDF3_64BIT_DATA", 2), ("NETCDF3_64BIT_DATA", None), ("NETCDF4", None)]
)
def test_files_with_several_times_say_so(raw, kind, length):
    path = list_steps(raw)[0].before
    with_time(path, kind, length, times=2)
    with pytest.raises(ClimSimError, match=r"state_t holds 2 times, expected one step in a file"):
        read_step(path)


def with_time(path, kind, length, times):
    """Write a step file again with a leading time dimension."""
    with netCDF4.Dataset(path) as file:
        fields = {n: (v.dimensions, v[...]) for n, v in file.variables.items()}
    with netCDF4.Dataset(path, "w", format=kind) as file:
        file.createDimension("time", length)
        for name, size in (("lev", GRID.n_levels), ("ncol", GRID.n_columns)):
            file.createDimension(name, size)
        for name, (axes, values) in fields.items():
            array = file.createVariable(name, values.dtype, ("time", *axes))
            array[:times] = np.stack([values] * times)


def test_missing_raw_folder_is_named_before_the_grid_file(tmp_path):
    with pytest.raises(ClimSimError, match=r"none: no such folder"):
        prepare(config(tmp_path / "none"))


def test_raw_file_that_is_gone_is_named(raw):
    step = list_steps(raw)[1]
    os.symlink(raw / "gone.nc", raw / "0001-02" / "link")
    step.after.unlink()
    os.symlink(raw / "gone.nc", step.after)
    with pytest.raises(ClimSimError, match=rf"{step.after.name}: cannot be read"):
        prepare(config(raw))


@pytest.mark.parametrize("steps", [[0], [0, 7, 14], [0, 1, 2, 3, 20, 40]])
def test_shards_without_enough_memory_hold_nan_there(tmp_path, steps):
    write_record(tmp_path / "raw", steps, GRID)
    store = open_store(prepare(config(tmp_path / "raw", block_steps=1)))
    for index, memory in enumerate(store.memory):
        assert np.isnan(store.array("state_t_dyn")[index]).all() == (memory < 1)
        assert np.isnan(store.array("tm_state_t_dyn")[index]).all() == (memory < 2)
        assert np.isfinite(store.array("ptend_t")[index]).all()
    statistics = compute_statistics(store)
    assert from_statistics(statistics, "standard", GRID.n_levels)
    if not (store.memory >= 2).any():
        assert np.isnan(statistics["tm_state_t_dyn"].mean).all()
    assert statistics["ptend_t"].count[0] == len(steps) * GRID.n_columns
    assert next(iter(BlockReader(store, batch_size=4)))[0].isfinite().all()


def test_expanded_inputs_without_memory_name_the_cause(raw, tmp_path):
    store = open_store(prepare(config(raw, memory=False)))
    with pytest.raises(ClimSimError, match=r"no previous-step features.*memory=true"):
        check_inputs(store, "expanded")
    write_record(tmp_path / "strided", [0, 7], GRID)
    store = open_store(prepare(config(tmp_path / "strided")))
    with pytest.raises(ClimSimError, match=r"none has 2 gapless previous steps"):
        check_inputs(store, "expanded")


def test_batch_larger_than_a_pool_names_key_and_limit(raw):
    reader = BlockReader(prepare(config(raw)), batch_size=10_000, drop_last=True)
    with pytest.raises(ClimSimError, match=r"data\.batch_size=10000.*give at most 28"):
        reader.plan()


# --- identity


def test_file_changed_in_place_is_read_again(raw):
    store = prepare(config(raw))
    step = list_steps(raw)[1]
    edit(step.before, lambda file: file["state_u"].__setitem__(..., file["state_u"][...] + 1.0))
    (link,) = trace(store).inputs
    assert link.state == "changed"
    before = open_store(store).fingerprint
    assert open_store(prepare(config(raw))).fingerprint != before


def test_identity_by_content_survives_a_copy_and_sees_a_change_under_the_same_time(raw):
    store = prepare(config(raw, identity="content"))
    made = os.stat(store).st_ino
    copy = raw.parent / "copy"
    shutil.copytree(raw, copy, copy_function=shutil.copyfile)
    shutil.rmtree(raw)
    copy.rename(raw)
    assert os.stat(prepare(config(raw, identity="content"))).st_ino == made
    path = list_steps(raw)[1].before
    times = os.stat(path)
    edit(path, lambda file: file["state_u"].__setitem__(..., file["state_u"][...] + 1.0))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    (link,) = trace(store).inputs
    assert link.state == "changed"


def test_raw_data_that_cannot_be_compared_are_not_checked(raw):
    store = prepare(config(raw))
    (raw / GRID_FILE).unlink()
    (link,) = trace(store).inputs
    assert link.state == "not checked"


def test_raw_data_hashed_by_an_earlier_version_are_not_checked(raw, monkeypatch):
    store = prepare(config(raw))
    recorded = stored_attributes(store)
    settings = json.loads(recorded["configuration"])
    del settings["identity"]
    attributes = {**recorded, "configuration": json.dumps(settings)}
    monkeypatch.setattr("climsim.lineage.stored_attributes", lambda path: attributes)
    (link,) = trace(store).inputs
    assert link.state == "not checked"


@pytest.mark.parametrize("key", ["split", "store_fingerprint", "time_step_s"])
def test_statistics_with_another_split_or_store_are_refused(raw, tmp_path, key):
    path = tmp_path / "statistics.nc"
    compute_statistics(open_store(prepare(config(raw)))).save(path)
    assert Statistics.open(path).split == "train"
    value = 900.0 if key == "time_step_s" else "test"
    edit(path, lambda file: file.setncattr(key, value))
    with pytest.raises(ClimSimError, match="changed after writing"):
        Statistics.open(path)
