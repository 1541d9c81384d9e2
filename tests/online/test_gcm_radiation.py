"""Radiation of the embedded model, gusts, diffusion and the split of condensate, part by part."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from climsim.constants import (
    ALL_ICE_TEMPERATURE,
    DRY_AIR_HEAT_CAPACITY,
    FUSION_HEAT,
    MIXED_PHASE_RANGE,
    VAPORIZATION_HEAT,
)
from climsim.errors import ClimSimError
from climsim.hosts.gcm import (
    cloud_draw,
    columns,
    correlated_k,
    diffusion,
    dynamics,
    grid,
    gustiness,
    harvest,
    pace,
    perturbed,
    physics,
    reduced,
    terms,
    tuning,
)
from climsim.hosts.gcm.config import GcmConfig
from climsim.hosts.gcm.state import TURBULENCE_KEY

LEVELS = 60


@pytest.fixture(scope="module")
def coordinates():
    return grid.model_coordinates("T10")


def made_columns(count, seed=0):
    """Cloudy and clear columns on the model's levels, by day and night."""
    draw = np.random.default_rng(seed)
    hyai, hybi = grid.interface_coefficients()
    interfaces = np.broadcast_to((1.0e5 * (hyai + hybi))[:, None], (LEVELS + 1, count))
    pressure = 0.5 * (interfaces[1:] + interfaces[:-1])
    temperature = np.clip(288.0 * (pressure / 1.0e5) ** 0.19, 210.0, None)
    temperature = temperature + draw.normal(scale=4.0, size=(1, count))
    cover = np.where(draw.random((LEVELS, count)) < 0.1, draw.random((LEVELS, count)), 0.0)
    cover = np.where(pressure > 2.0e4, cover, 0.0)
    ones, one = np.ones((LEVELS, count)), np.ones(count)
    bands = np.zeros((14, LEVELS, count))
    made = columns.RadiationColumns(
        temperature=temperature,
        humidity=0.012 * (pressure / 1.0e5) ** 3 + 3.0e-6,
        ozone=1.0e-7 + 8.0e-6 * np.exp(-(((np.log(pressure) - 7.0) / 1.2) ** 2)),
        methane=1.8e-6 * ones,
        pressure=pressure,
        interfaces=interfaces,
        cover=cover,
        liquid_path=0.02 * (cover > 0) * (temperature > 260.0),
        ice_path=0.005 * (cover > 0) * (temperature <= 260.0),
        liquid_radius=10.0 * ones,
        ice_radius=40.0 * ones,
        aerosol_depth=bands,
        aerosol_albedo=bands + 0.9,
        aerosol_asymmetry=bands + 0.7,
        surface_temperature=temperature[-1],
        albedo_visible=0.1 * one,
        albedo_near_infrared=0.2 * one,
        emissivity=0.98 * one,
        cos_zenith=np.linspace(-0.9, 0.95, count),
        irradiance=1361.0 * one,
        carbon_dioxide=4.0e-4 * one,
        nitrous_oxide=3.3e-7 * one,
    )
    return jax.tree.map(lambda values: jnp.asarray(values, jnp.float32), made)


@pytest.fixture(scope="module")
def some_columns():
    return made_columns(24)


@pytest.mark.parametrize(
    ("temperature", "liquid", "ice", "expected"),
    [
        (250.0, 1.0e-4, 0.0, 0.0),
        (300.0, 0.0, 1.0e-4, 1.0),
        (263.16, 1.0e-4, 1.0e-4, 0.5),
        (270.0, 1.0e-3, 0.0, None),
    ],
)
def test_condensate_splits_by_the_temperature_it_ends_at_and_keeps_energy(
    temperature, liquid, ice, expected
):
    with jax.enable_x64(True):
        new, after = terms.split_condensate(*map(jnp.float64, (temperature, liquid, ice)))
    fraction = np.clip((float(after) - ALL_ICE_TEMPERATURE) / MIXED_PHASE_RANGE, 0.0, 1.0)
    assert float(new) == pytest.approx(fraction * (liquid + ice), rel=1e-9, abs=1e-18)
    freezing = terms.FUSION_OVER_CP * (liquid - float(new))
    assert float(after) - temperature == pytest.approx(freezing, rel=1e-6, abs=1e-9)
    if expected is not None:
        assert fraction == pytest.approx(expected, abs=1e-6)


def test_split_condensate_is_not_split_again():
    temperature = np.linspace(230.0, 290.0, 601)
    liquid, after = terms.split_condensate(jnp.asarray(temperature), 3.0e-4, 2.0e-4)
    again, still = terms.split_condensate(after, liquid, 5.0e-4 - liquid)
    np.testing.assert_allclose(again, liquid, atol=2e-9)
    np.testing.assert_allclose(still, after, atol=1e-4)
    assert pytest.approx(FUSION_HEAT / 1004.6, rel=0.01) == terms.FUSION_OVER_CP


def test_condensate_that_turbulence_brought_is_condensed_from_vapour_where_it_was_taken():
    """Microphysics took 3e-6 kg/kg of liquid in 100 s, of which turbulence had brought 2e-6."""
    zero = np.zeros((1, 2), np.float32)
    state = SimpleNamespace(
        temperature=zero + 280.0,
        tracers={"qc": zero + np.float32([1.0e-6, 5.0e-6]), "qi": zero},
    )
    brought = dict.fromkeys(terms.PROFILES, zero) | {"qc": zero + np.float32(2.0e-8)}
    running = {
        "temperature": zero,
        "specific_humidity": zero,
        "u_wind": zero,
        "v_wind": zero,
        "tracers": {"qc": zero - np.float32(1.0e-8), "qi": zero - np.float32(1.0e-9)},
    }
    diagnostics = {"_tendency_run": running, TURBULENCE_KEY: brought, "_dt_seconds": 100.0}
    floor, _ = terms.CondensateFloor()(state, diagnostics, None, None)
    np.testing.assert_allclose(floor.tracers["qc"], [[2.0e-8, 0.0]], rtol=1e-5, atol=1e-14)
    np.testing.assert_allclose(floor.tracers["qi"], [[1.0e-9, 1.0e-9]], rtol=1e-5)
    np.testing.assert_allclose(floor.specific_humidity, [[-2.1e-8, -1.0e-9]], rtol=1e-5)
    heat = (
        VAPORIZATION_HEAT * 2.1e-8 + FUSION_HEAT * 1.0e-9,
        (VAPORIZATION_HEAT + FUSION_HEAT) * 1.0e-9,
    )
    np.testing.assert_allclose(
        floor.temperature, [np.divide(heat, DRY_AIR_HEAT_CAPACITY)], rtol=1e-3
    )
    assert not np.any(floor.u_wind)
    assert not np.any(floor.v_wind)


def test_stratified_numbers_fill_each_eighth_of_every_band():
    numbers = cloud_draw.stratified_numbers(112, 5)
    assert numbers.shape == (5, 112)
    assert len(np.unique(numbers[0])) == 112
    eighths = np.floor(numbers.reshape(5, 14, 8) * 8.0)
    np.testing.assert_array_equal(np.sort(eighths, axis=-1)[2, 3], np.arange(8))


def test_overlap_is_maximum_in_one_cloud_and_random_between_two():
    cover = np.zeros((6, 3), np.float32)
    cover[1:3, 0] = 0.5  # one cloud of two layers
    cover[[1, 4], 1] = 0.5  # two clouds with clear air between
    cover[3, 2] = 0.25
    seen = np.asarray(
        cloud_draw.cloudy_points(jnp.asarray(cover), cloud_draw.stratified_numbers(128, 6))
    )
    np.testing.assert_allclose(seen.mean(axis=1)[cover > 0], cover[cover > 0], atol=0.06)
    total = seen.any(axis=0).mean(axis=0)
    np.testing.assert_allclose(total, [0.5, 0.75, 0.25], atol=0.06)


def test_visible_light_begins_at_0_7_um():
    share = correlated_k.visible_share()
    assert share.shape == (14,)
    assert list(np.unique(share)) == [0.0, 0.5, 1.0]
    assert (share == 0.5).sum() == 1
    assert share.sum() == pytest.approx(4.5)


def test_heating_is_absorbed_power_over_mass_and_heat_capacity():
    interfaces = jnp.asarray([[0.0], [980.665], [1961.33]])
    rate = columns.heating(jnp.asarray([[1004.64], [-502.32]]), interfaces)
    np.testing.assert_allclose(rate[:, 0], [0.01, -0.005], rtol=2e-3)


def test_perturbed_columns_stay_physical_and_keep_clouds_where_there_is_cover(some_columns):
    changed = harvest.perturbed(some_columns, 5)
    assert changed.temperature.min() >= 150.0
    assert changed.humidity.min() > 0.0
    assert (changed.cover <= 1.0).all()
    assert (changed.liquid_path[changed.cover == 0.0] == 0.0).all()
    both = harvest.joined([some_columns, changed])
    assert both.aerosol_depth.shape[-1] == 48
    np.testing.assert_array_equal(changed.ozone, harvest.perturbed(some_columns, 5).ozone)


def test_chosen_points_reproduce_the_sum_over_all_of_them():
    draw = np.random.default_rng(1)
    basis = draw.random((40, 3))
    rows = basis @ draw.random((3, 12))  # twelve points of which three are independent
    chosen, weights = reduced.choose(rows, 3)
    assert len(chosen) == 3
    assert (weights > 0.0).all()
    np.testing.assert_allclose(rows[:, chosen] @ weights, rows.sum(axis=1), rtol=0.05)


def test_whole_clouds_leave_nothing_to_the_draw(some_columns):
    doubled = reduced.with_whole_clouds(some_columns)
    assert doubled.temperature.shape[1] == 48
    assert set(np.unique(doubled.cover)) == {0.0, 1.0}
    assert (doubled.liquid_path[:, :24] == 0.0).all()
    np.testing.assert_array_equal(doubled.liquid_path[:, 24:], some_columns.liquid_path)


def test_points_survive_their_file(tmp_path):
    points = reduced.shipped_points()
    reduced.save_points(tmp_path / "p.npz", points, {"note": 1})
    again = reduced.load_points(tmp_path / "p.npz")
    np.testing.assert_array_equal(again.longwave, points.longwave)
    np.testing.assert_array_equal(again.shortwave_numbers, points.shortwave_numbers)
    assert again.longwave_numbers.shape == (LEVELS, len(points.longwave))


def test_sunlit_columns_hold_all_that_the_sun_reaches():
    longitude = np.arange(512) * 2.0 * np.pi / 512.0
    sun = np.cos(longitude)
    chosen = np.asarray(pace.sunlit_columns(jnp.asarray(sun), 16))
    assert len(chosen) == 288
    assert (sun[chosen] > 0.0).sum() == (sun > 0.0).sum()


@pytest.mark.slow
def test_fast_radiation_closes_energy_and_is_near_to_the_whole(some_columns):
    correlated_k.tables()
    fast = jax.jit(reduced.solve)(some_columns)
    whole = jax.jit(correlated_k.solve)(some_columns)
    light = fast.shortwave_in - fast.shortwave_out
    surface = fast.surface_shortwave_down - fast.surface_shortwave_up
    np.testing.assert_allclose(light, surface + fast.shortwave_absorbed.sum(axis=0), atol=0.01)
    net = fast.surface_longwave_up - fast.surface_longwave_down
    np.testing.assert_allclose(
        fast.longwave_absorbed.sum(axis=0), net - fast.longwave_out, atol=0.01
    )
    streams = fast.direct_visible + fast.diffuse_visible
    streams += fast.direct_near_infrared + fast.diffuse_near_infrared
    np.testing.assert_allclose(streams, fast.surface_shortwave_down, atol=0.01)
    night = np.asarray(some_columns.cos_zenith) <= 0.0
    assert (np.asarray(fast.shortwave_absorbed)[:, night] == 0.0).all()
    found = reduced.errors(fast, whole, some_columns)
    assert found.fluxes["longwave_out"].rmse < 8.0
    assert found.fluxes["surface_shortwave_down"].rmse < 25.0


def test_unresolved_wind_grows_with_the_cell_and_towards_the_storm_tracks(coordinates):
    storms = gustiness.gusty_parameters({}, {"storm_wind": 3.0, "storm_track_wind": 5.0})
    latitude = np.deg2rad(grid.column_grid(coordinates).lat)
    np.testing.assert_allclose(gustiness.latitudes(512), latitude, atol=1e-6)
    gust = 0.32 * (998.2 / 5 - 1) ** 0.33
    stormy = (3.0 + 5.0 * np.abs(np.sin(2 * latitude))) * 0.9982
    found = gustiness.unresolved_wind(512, storms)
    np.testing.assert_allclose(found, np.hypot(gust, stormy), rtol=1e-3)
    assert gustiness.unresolved_wind(2048, storms).max() < 0.6 * found.max()
    with pytest.raises(ClimSimError, match=r"unknown tuned parameter of gusts.*storm_wind"):
        gustiness.gusty_parameters({}, {"storm_winds": 3.0})
    with pytest.raises(ClimSimError, match="expected the columns of a whole globe, found 500"):
        gustiness.latitudes(500)


def test_two_models_of_a_process_have_storms_and_other_parameters_of_their_own(coordinates):
    names = ("gusts.storm_wind", "vertical_diffusion.louis_cb", "clouds.crt", "convection.entrpen")
    with dynamics.quiet_jcm():
        shipped = physics.full_physics(coordinates, physics.PhysicsOptions(physics.GREY))
        calm = {"gusts.storm_wind": 1.0, "vertical_diffusion.louis_cb": 4.0}
        options = physics.PhysicsOptions(physics.GREY, tuning=calm)
        other = physics.full_physics(coordinates, options)
    before = perturbed.tuned_values(shipped, names)
    assert before["gusts.storm_wind"] == tuning.TUNING["gusts.storm_wind"]
    assert perturbed.tuned_values(other, names) == before | calm
    # A third, made of the first, leaves the first as it was.
    values = {"clouds.crt": 0.75, "gusts.storm_wind": 2.0}
    third = perturbed.with_tuning(shipped, values)
    assert perturbed.tuned_values(third, names) == pytest.approx(before | values)
    assert perturbed.tuned_values(shipped, names) == before
    with pytest.raises(
        ClimSimError, match=r"clouds\.crtt: expected a parameter of CloudParameters"
    ):
        perturbed.tuned_values(shipped, ["clouds.crtt"])


def test_winds_of_storms_may_be_traced_and_reach_the_surface_exchange(coordinates):
    from jcm.physics.vertical_diffusion.tte_tke import surface_layer

    gustiness.install()
    plain = gustiness.gusty_parameters({}, {"storm_wind": 0.0, "storm_track_wind": 0.0})

    def exchanged(storm_wind):
        stormy = replace(plain, storm_wind=storm_wind)
        return gustiness.unresolved_wind(512, stormy).min()

    both = jax.jit(jax.vmap(exchanged))(np.float32([0.0, 4.0]))
    gust = 0.32 * (998.2 / 5 - 1) ** 0.33
    np.testing.assert_allclose(both, [gust, np.hypot(gust, 4.0 * 0.9982)], rtol=1e-3)
    assert hasattr(surface_layer.compute_surface_exchange_coefficients_echam_louis, "gusts")


def test_traced_diffusion_damps_like_the_filters_that_jcm_builds(coordinates):
    from jcm.dycore.dinosaur.dycore import DinosaurDycore

    dycore = SimpleNamespace(coords=coordinates, dt_seconds=1200.0, _dt=1200.0)
    dycore._conserve_global_mean_ps = lambda before, state: state
    described = diffusion.echam_diffusion(dynamics.middle_pressure(), 30.0)
    shape = (LEVELS, *coordinates.horizontal.modal_shape)
    draw = np.random.default_rng(1)
    names = ("vorticity", "divergence", "temperature_variation")
    fields = {name: draw.normal(size=shape).astype(np.float32) for name in (*names, "q")}
    rough = SimpleNamespace(tracers={"specific_humidity": fields.pop("q")}, **fields)
    rough.replace = lambda **changes: SimpleNamespace(**changes)

    @jax.jit
    def damped(hours):
        traced = diffusion.echam_diffusion(dynamics.middle_pressure(), hours)
        *_, damp = diffusion.with_diffusion(dycore, traced)._filters
        return vars(damp(rough, rough))

    found = damped(30.0)
    jcms = SimpleNamespace(**vars(dycore), diffusion=described)
    times = (described.vor_q_timescale, described.div_timescale, described.temp_timescale)
    assert [float(time[-1, 0]) for time in times] == [108000.0, 21600.0, 270000.0]
    for name, time in zip(names, times, strict=True):
        whole = DinosaurDycore._make_diffusion_fn(
            jcms, time, 2, lambda _, done: done, described.level_orders_div
        )
        values = getattr(rough, name)
        expected = whole(values, values)
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)
        if name == "vorticity":
            vapour = whole(rough.tracers["specific_humidity"], rough.tracers["specific_humidity"])
            moist = found["tracers"]["specific_humidity"]
            np.testing.assert_allclose(moist, vapour, rtol=1e-6)


def test_diffusion_spares_large_waves_below_the_top_and_reaches_the_zonal_mean():
    described = diffusion.echam_diffusion(np.array([10.0, 50.0, 200.0, 1000.0, 90000.0]), 10.0)
    np.testing.assert_array_equal(described.level_orders_temp, [1, 2, 3, 4, 4])
    np.testing.assert_allclose(described.div_timescale, 7200.0)
    np.testing.assert_allclose(described.temp_timescale, 90000.0)
    assert described.diffuses_zonal_mean


def test_diffusion_damps_the_model_top_within_twelve_hours_at_any_resolution():
    described = diffusion.echam_diffusion(np.array([10.0, 50.0, 200.0, 1000.0, 90000.0]), 36.0)
    hours = np.asarray(described.vor_q_timescale)[:, 0] / 3600.0
    np.testing.assert_allclose(hours, [12.0, 12.0, 12.0, 36.0, 36.0])


def test_tuned_parameters_are_grouped_by_scheme_and_checked():
    chosen = tuning.scheme_parameters(
        {"convection.entrpen": 2.0e-4, "radiation.cld_frac_min": 0.01}
    )
    assert chosen["convection"]["entrpen"] == 2.0e-4
    assert chosen["radiation"] == {"cld_frac_min": 0.01}
    with pytest.raises(ClimSimError, match="unknown tuned parameter"):
        tuning.scheme_parameters({"convektion.entrpen": 1.0})
    with pytest.raises(ClimSimError, match="expected a number"):
        tuning.scheme_parameters({"convection.entrpen": "much"})


def test_a_restart_names_every_tuned_parameter():
    usual, other = (GcmConfig(tuning=t).identity()["tuning"] for t in ({}, {"clouds.crt": 0.5}))
    assert "clouds.crt=0.65, " in usual
    assert other == usual.replace("clouds.crt=0.65", "clouds.crt=0.5")
