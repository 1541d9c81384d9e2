"""Raw step files: round trips, and every way in which a file can be wrong."""

from __future__ import annotations

import struct

import netCDF4
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from climsim.calendar import to_date
from climsim.data.raw.classic import parse_header
from climsim.data.raw.step_file import inspect_fields
from climsim.data.raw.steps import (
    INPUT_VARIABLES,
    list_steps,
    read_grid_info,
    read_step,
    write_grid_info,
    write_step_pair,
)
from climsim.errors import ClimSimError
from tests.data.synthetic import START, STEP, make_step, write_record
from tests.grids import N_COLUMNS, N_LEVELS, make_grid


@pytest.fixture
def pair(tmp_path):
    grid = make_grid()
    before, after = make_step(grid, np.random.default_rng(3))
    paths = write_step_pair(tmp_path, to_date(START), before, after, grid, source="synthetic")
    return paths, before, after


def rewrite(path, kind="NETCDF4", change=None, rename=None, dims=None):
    """Write a step file again in another format, with changed values, names or dimensions."""
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        fields = {n: (v.dimensions, v[...]) for n, v in file.variables.items()}
    path.unlink()
    with netCDF4.Dataset(path, "w", format=kind) as file:
        for name, (axes, values) in fields.items():
            values = change(name, values) if change else values
            if values is None:
                continue
            axes = dims(name, axes) if dims else axes
            values = values.T if axes[::-1] == ("lev", "ncol") else values
            for axis, size in zip(axes, np.shape(values), strict=True):
                if axis not in file.dimensions:
                    file.createDimension(axis, size)
            new = rename(name) if rename else name
            file.createVariable(new, np.asarray(values).dtype, axes)[...] = values


def test_written_pair_reads_back_bit_for_bit(pair):
    (path, _), before, after = pair
    step = read_step(path)
    assert step.date == to_date(START)
    assert step.shape == (N_LEVELS, N_COLUMNS)
    assert set(step.before) == set(before)
    for name, value in {**before, **after}.items():
        read = step.after[name] if name in after else step.before[name]
        expected = after.get(name, value)
        assert read.dtype == np.float64
        np.testing.assert_array_equal(read, expected)


def test_xarray_reads_names_dimensions_and_units(pair):
    import xarray

    with xarray.open_dataset(pair[0][0]) as dataset:
        assert dataset["state_t"].dims == ("lev", "ncol")
        assert dataset["state_ps"].dims == ("ncol",)
        assert dataset["pbuf_ozone"].attrs["units"] == "mol mol-1"
        assert dataset.attrs["source"] == "synthetic"
        assert int(dataset["ymd"]) == 10227
        assert int(dataset["tod"]) == 0


def test_name_holds_date_and_second_of_day(tmp_path):
    write_record(tmp_path, [73])
    (step,) = list_steps(tmp_path)
    assert step.before.name == "E3SM-MMF.mli.0001-02-28-01200.nc"
    assert step.before.parent.name == "0001-02"
    assert step.month == "0001-02"


def test_february_has_28_days_in_every_year(tmp_path):
    write_record(tmp_path, [144], start=START + 3 * 365 * 86400)
    (step,) = list_steps(tmp_path)
    assert step.before.name == "E3SM-MMF.mli.0004-03-01-00000.nc"


def test_netcdf4_files_read_like_classic_ones(pair):
    (path, output), before, _ = pair
    for file in (path, output):
        rewrite(file, kind="NETCDF4")
    np.testing.assert_array_equal(read_step(path).before["state_u"], before["state_u"])


@pytest.mark.parametrize("kind", ["NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"])
def test_layout_from_the_header_agrees_with_the_netcdf_library(pair, kind):
    path = pair[0][0]
    rewrite(path, kind=kind)
    data = path.read_bytes()
    header = parse_header(data)
    assert header.size <= len(data) < header.size + 8
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        assert set(file.variables) == set(header.variables)
        for name, place in header.variables.items():
            count = int(np.prod(place.shape))
            mine = np.frombuffer(data, place.dtype, count, place.offset).reshape(place.shape)
            np.testing.assert_array_equal(mine, file[name][...])


@pytest.mark.parametrize("kind", ["NETCDF3_64BIT_DATA", "NETCDF4"])
@pytest.mark.parametrize("which", [0, 1])
def test_truncation_at_every_percent_is_noticed(pair, kind, which):
    paths = pair[0]
    rewrite(paths[which], kind=kind)
    whole = paths[which].read_bytes()
    for percent in range(100):
        paths[which].write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(ClimSimError, match=paths[which].name):
            read_step(paths[0])


def test_one_missing_byte_is_noticed(pair):
    path = pair[0][0]
    size = parse_header(path.read_bytes()).size
    path.write_bytes(path.read_bytes()[: size - 1])
    with pytest.raises(ClimSimError, match="truncated"):
        read_step(path)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_flipped_bytes_give_a_message_or_finite_values_of_the_right_shape(pair, data):
    path = pair[0][0]
    whole = path.read_bytes()
    # The first kilobytes hold the header, where flips do the strangest things.
    position = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 400))
    broken = bytearray(whole)
    broken[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(broken)
    step, message = None, ""
    try:
        step = read_step(path)
    except ClimSimError as error:
        message = str(error)
    path.write_bytes(whole)
    if step is None:
        assert path.name in message
        assert "\n" not in message
    else:
        assert step.shape == (N_LEVELS, N_COLUMNS)
        assert all(np.isfinite(v).all() for v in step.before.values())


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_flipped_header_bits_give_a_message_or_the_right_values(pair, data):
    (path, _), before, _ = pair
    whole = path.read_bytes()
    position = data.draw(st.integers(0, parse_header(whole).length - 1))
    broken = bytearray(whole)
    broken[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(broken)
    fields, problems = inspect_fields(path, INPUT_VARIABLES)
    path.write_bytes(whole)
    if not problems:
        for name in INPUT_VARIABLES:
            np.testing.assert_array_equal(fields[name], before[name])


@pytest.mark.parametrize("shift", [-8, 8, 800])
def test_a_shifted_array_is_refused(pair, shift):
    path = pair[0][0]
    whole = path.read_bytes()
    header = parse_header(whole)
    for place in header.variables.values():
        old, new = (struct.pack(">Q", place.offset + k) for k in (0, shift))
        assert whole[: header.length].count(old) == 1
        path.write_bytes(whole.replace(old, new, 1))
        with pytest.raises(ClimSimError, match=r"expected \d+"):
            read_step(path)
        path.write_bytes(whole)


def test_single_precision_is_read_as_it_is(pair):
    (path, _), before, _ = pair
    rewrite(path, kind="NETCDF3_64BIT_DATA", change=lambda n, v: v.astype("f4") if v.ndim else v)
    for name, value in read_step(path).before.items():
        np.testing.assert_array_equal(value, before[name].astype("f4"))


def test_missing_variable_is_named(pair):
    path = pair[0][0]
    rewrite(path, change=lambda name, value: None if name == "pbuf_CH4" else value)
    with pytest.raises(ClimSimError, match="pbuf_CH4 is missing"):
        read_step(path)


def test_nan_is_named(pair):
    path = pair[0][1]

    def poison(name, value):
        if name == "state_q0002":
            value = value.copy()
            value[2, 3] = np.nan
        return value

    rewrite(path, kind="NETCDF3_64BIT_DATA", change=poison)
    with pytest.raises(ClimSimError, match="state_q0002 has 1 values that are not finite"):
        read_step(pair[0][0])


def test_fill_values_are_allowed_in_snow_alone(pair):
    path = pair[0][0]
    assert (read_step(path).before["cam_in_SNOWHICE"] > 1e29).any()
    rewrite(path, change=lambda n, v: np.full_like(v, 1e30) if n == "pbuf_TAUX" else v)
    with pytest.raises(ClimSimError, match="pbuf_TAUX holds fill values"):
        read_step(path)


@pytest.mark.parametrize("kind", ["NETCDF3_64BIT_DATA", "NETCDF4"])
def test_swapped_dimensions_are_refused(pair, kind):
    path = pair[0][0]
    rewrite(path, kind, dims=lambda name, axes: axes[::-1] if name == "state_t" else axes)
    with pytest.raises(ClimSimError, match=r"state_t has dimensions \(ncol, lev\)"):
        read_step(path)


@pytest.mark.parametrize("kind", ["NETCDF3_64BIT_DATA", "NETCDF4"])
@pytest.mark.parametrize("dtype", ["int32", "int8"])
def test_integers_are_refused(pair, kind, dtype):
    path = pair[0][0]
    rewrite(path, kind, change=lambda n, v: v.astype(dtype) if n == "state_u" else v)
    with pytest.raises(ClimSimError, match=r"state_u has type (>i4|int)"):
        read_step(path)


def test_foreign_netcdf_is_refused(pair):
    path = pair[0][0]
    rewrite(path, rename=lambda name: f"other_{name}")
    with pytest.raises(ClimSimError, match="state_t is missing"):
        read_step(path)


@pytest.mark.parametrize("content", [b"", b"CDF", b"CDF\x05", b"not a file", b"\x89HDF\r\n\x1a\n"])
def test_no_netcdf_is_refused(pair, content):
    pair[0][0].write_bytes(content)
    with pytest.raises(ClimSimError, match="mli"):
        read_step(pair[0][0])


def test_levels_of_the_two_files_must_agree(tmp_path, pair):
    grid = make_grid(levels=N_LEVELS + 1)
    before, after = make_step(grid, np.random.default_rng(0))
    _, output = write_step_pair(
        tmp_path / "x", to_date(START), before, after, grid, source="synthetic"
    )
    output.replace(pair[0][1])
    with pytest.raises(ClimSimError, match=r"\(6, 7\), but \(5, 7\)"):
        read_step(pair[0][0])


@pytest.mark.parametrize("calendar", ["gregorian", "standard", "360_day", "proleptic_gregorian"])
@pytest.mark.parametrize("kind", ["NETCDF3_64BIT_DATA", "NETCDF4"])
def test_other_calendar_is_refused(pair, kind, calendar):
    path = pair[0][0]
    rewrite(path, kind=kind)
    with netCDF4.Dataset(path, "a") as file:
        file.calendar = calendar
    with pytest.raises(ClimSimError, match=f"calendar is '{calendar}', expected noleap"):
        read_step(path)


def test_renamed_file_is_noticed(pair):
    path = pair[0][0]
    other = path.with_name("E3SM-MMF.mli.0001-02-27-01200.nc")
    path.rename(other)
    with pytest.raises(ClimSimError, match="was it renamed"):
        read_step(other)


def test_missing_output_file_is_listed_and_refused_on_reading(pair, tmp_path):
    pair[0][1].unlink()
    (step,) = list_steps(tmp_path)
    assert step.after is None
    with pytest.raises(ClimSimError, match="no such file"):
        read_step(step.before)


def test_duplicate_step_is_refused(pair, tmp_path):
    copy = tmp_path / "other" / pair[0][0].name
    copy.parent.mkdir()
    copy.write_bytes(pair[0][0].read_bytes())
    with pytest.raises(ClimSimError, match="the same step as"):
        list_steps(tmp_path)


@pytest.mark.parametrize(
    ("date", "message"),
    [
        ("0004-02-29-00000", "no day 0004-02-29 in the noleap calendar"),
        ("11000-01-30-00000", "expected a date YYYY-MM-DD-SSSSS in the name, found 11000-01-30-0"),
        ("0001-02-03-01200 (1)", r"expected a date .* found 0001-02-03-01200 \(1\): rename or rem"),
    ],
)
def test_a_name_without_a_date_of_the_calendar_is_refused(pair, tmp_path, date, message):
    pair[0][0].rename(pair[0][0].with_name(f"E3SM-MMF.mli.{date}.nc"))
    with pytest.raises(ClimSimError, match=message):
        list_steps(tmp_path)


def test_other_files_of_a_case_of_that_name_are_left_alone(pair, tmp_path):
    pair[0][0].with_name("E3SM-MMF.eam.h0.0001-02.nc").touch()
    assert len(list_steps(tmp_path)) == 1


@pytest.mark.parametrize("change", ["shape", "nan", "absent"])
def test_writer_refuses_wrong_fields_and_leaves_nothing(tmp_path, change):
    grid = make_grid()
    before, after = make_step(grid, np.random.default_rng(0))
    if change == "shape":
        before["state_t"] = before["state_t"].T
    elif change == "nan":
        before["state_t"][0, 0] = np.nan
    else:
        del before["state_t"]
    with pytest.raises(ClimSimError, match="state_t"):
        write_step_pair(tmp_path, to_date(START + STEP), before, after, grid, source="synthetic")
    assert not list(tmp_path.rglob("*mli*"))


def test_grid_file_round_trip(tmp_path):
    grid = make_grid()
    write_grid_info(tmp_path / "grid.nc", grid, "synthetic")
    read = read_grid_info(tmp_path / "grid.nc")
    for name in ("lat", "lon", "area", "hyam", "hybm", "hyai", "hybi"):
        np.testing.assert_array_equal(getattr(read, name), getattr(grid, name))
    assert read.p0 == grid.p0


def test_published_grid_file_is_read(shared):

    path = shared / "reference_data/ClimSim_low-res_grid-info.nc"
    grid = read_grid_info(path)
    assert (grid.n_columns, grid.n_levels) == (384, 60)
    assert grid.area.sum() == pytest.approx(4 * np.pi, rel=1e-6)


def test_missing_grid_file_names_the_key(tmp_path):
    with pytest.raises(ClimSimError, match="give grid="):
        read_grid_info(tmp_path / "none.nc")
