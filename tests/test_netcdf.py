"""NetCDF files are written whole, in the same form by either writer."""

import netCDF4
import numpy as np
import pytest
import xarray

from climsim.errors import ClimSimError
from climsim.netcdf import write_netcdf, write_variables

VARIABLES = {
    "T": (("time", "lev"), np.array([[1.5, np.nan], [2.5, 3.5]], np.float32), {"units": "K"}),
    "lev": ("lev", np.array([10.0, 900.0]), {"units": "hPa"}),
    "steps": ("time", np.array([3, 4], np.int32), {}),
    "P0": ((), 1.0e5, {"units": "Pa"}),
}


def test_arrays_are_written_as_a_dataset_of_them_is(tmp_path):
    write_variables(tmp_path / "arrays.nc", VARIABLES, {"case": "x"}, unlimited="time")
    dataset = xarray.Dataset(VARIABLES, attrs={"case": "x"})
    write_netcdf(dataset, tmp_path / "dataset.nc", unlimited_dims=["time"])
    with (
        netCDF4.Dataset(tmp_path / "arrays.nc") as found,
        netCDF4.Dataset(tmp_path / "dataset.nc") as expected,
    ):
        assert found.__dict__ == expected.__dict__
        assert [*found.variables] == [*expected.variables]
        assert found.dimensions["time"].isunlimited()
        assert not found.dimensions["lev"].isunlimited()
        for name, variable in expected.variables.items():
            assert found[name].dimensions == variable.dimensions
            assert found[name].dtype == variable.dtype
            np.testing.assert_equal(found[name].__dict__, variable.__dict__)
            np.testing.assert_array_equal(found[name][...].filled(), variable[...].filled())


def test_write_of_arrays_that_the_library_refuses_leaves_the_old_file(tmp_path):
    class Refused:
        def __array__(self, *arguments, **named):
            raise RuntimeError("NetCDF: HDF error")

    path = tmp_path / "a.nc"
    write_variables(path, VARIABLES, {}, unlimited="time")
    before = path.read_bytes()
    with pytest.raises(
        ClimSimError, match=r"a\.nc: could not be written \(NetCDF: HDF error; .* MiB"
    ):
        write_variables(path, {"x": ("time", Refused(), {})}, {}, unlimited="time")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nc"]
