"""Kinetic energy that the embedded model's mixing takes comes back as heat."""

from types import SimpleNamespace

import numpy as np
import pytest

from climsim.hosts.gcm import grid
from climsim.hosts.gcm.diffusion import echam_diffusion, with_dissipation_heat
from climsim.hosts.gcm.dynamics import middle_pressure

HEAT_CAPACITY = 1004.64
STEP = 1200.0


def test_mixing_two_layers_warms_both_by_half_of_what_they_lose_in_motion():
    from climsim.hosts.gcm.wrapped import dissipation_heating

    wind, change = np.array([[10.0], [4.0]]), np.array([[-0.001], [0.001]])
    heating = np.asarray(dissipation_heating(wind, change, np.full((2, 1), 500.0), STEP))

    middle = wind + 0.5 * STEP * change
    lost = 0.001 * (middle[0] - middle[1])
    np.testing.assert_allclose(heating, np.tile(0.5 * lost / HEAT_CAPACITY, (2, 1)), rtol=1e-3)


def test_drag_of_the_surface_warms_the_lowest_layer_alone():
    from climsim.hosts.gcm.wrapped import dissipation_heating

    wind, change = np.array([[7.0], [5.0]]), np.array([[0.0], [-0.002]])
    heating = np.asarray(dissipation_heating(wind, change, np.full((2, 1), 500.0), STEP))

    assert heating[0] == 0.0
    after = 5.0 - 0.002 * STEP
    taken = (5.0**2 - after**2) / 2.0 / STEP
    assert heating[1] == pytest.approx(taken / HEAT_CAPACITY, rel=1e-3)


def test_any_change_of_the_wind_keeps_the_energy_of_the_column():
    from climsim.hosts.gcm.wrapped import dissipation_heating

    rng = np.random.default_rng(3)
    shape = (60, 7)
    wind, change = rng.normal(0, 15, shape), rng.normal(0, 1e-4, shape)
    thickness = rng.uniform(50, 2000, shape)
    heating = np.asarray(dissipation_heating(wind, change, thickness, STEP), np.float64)

    motion = ((wind + STEP * change) ** 2 - wind**2) / 2.0 / STEP
    gained = (thickness * HEAT_CAPACITY * heating).sum(0)
    np.testing.assert_allclose(gained, -(thickness * motion).sum(0), rtol=1e-3)


def test_diffusion_warms_each_level_by_the_kinetic_energy_that_it_takes():
    from dinosaur.spherical_harmonic import vor_div_to_uv_nodal
    from jcm.diffusion import level_dependent_scaling

    coordinates = grid.model_coordinates("T10")
    horizontal = coordinates.horizontal
    filters = echam_diffusion(middle_pressure(), 12.0)
    rng = np.random.default_rng(5)
    levels = coordinates.nodal_shape[0]
    # The dynamical core clips the shortest waves of the wind.
    order = np.arange(horizontal.modal_shape[1])
    wavy = (horizontal.mask & (order > 0) & (order < order[-2])).astype(np.float32)
    shape = (levels, *horizontal.modal_shape)
    before = {
        name: 1e-5 * wavy * rng.standard_normal(shape).astype(np.float32)
        for name in ("vorticity", "divergence")
    }
    factors = {
        name: level_dependent_scaling(horizontal.laplacian_eigenvalues, time, orders, STEP)
        for name, time, orders in (
            ("vorticity", filters.vor_q_timescale, filters.level_orders_vor_q),
            ("divergence", filters.div_timescale, filters.level_orders_div),
        )
    }
    after = {name: np.asarray(factors[name] * values) for name, values in before.items()}

    def motion(fields):
        u, v = vor_div_to_uv_nodal(horizontal, fields["vorticity"], fields["divergence"])
        weights = np.broadcast_to(np.asarray(horizontal.quadrature_weights), u.shape[1:])
        energy = (np.asarray(u, np.float64) ** 2 + np.asarray(v, np.float64) ** 2) / 2.0
        return (energy * weights).sum((1, 2)) / weights.sum()

    cold = np.zeros(shape, np.float32)
    state = SimpleNamespace(
        temperature_variation=horizontal.to_modal(horizontal.to_nodal(cold)), **after
    )
    state.replace = lambda **changes: SimpleNamespace(**changes)
    dycore = SimpleNamespace(diffusion=filters, coords=coordinates, dt_seconds=STEP)
    warmed = with_dissipation_heat(state, dycore).temperature_variation

    nodal = np.asarray(horizontal.to_nodal(warmed))
    lost = motion(before) - motion(after)
    assert (lost > 0).all()
    np.testing.assert_allclose(
        nodal,
        np.broadcast_to((lost / HEAT_CAPACITY)[:, None, None], nodal.shape),
        rtol=2e-3,
        atol=1e-7,
    )
