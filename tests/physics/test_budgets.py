"""Budgets and integrals of columns, against numbers worked by hand and between both layouts."""

import numpy as np
import pytest

from climsim.constants import E3SM, PhysicalConstants
from climsim.physics.budgets import (
    column_heating,
    column_water_residual,
    energy_factor,
    implied_top_radiation,
)
from climsim.physics.columns import Columns, layer_mass
from climsim.variables import OUTPUTS

MOON = PhysicalConstants(
    gravity=2.0,
    dry_air_heat_capacity=1000.0,
    vaporization_heat=3.0e6,
    fusion_heat=4.0e5,
    water_density=500.0,
)
INTERFACES = np.array([[0.0, 100.0], [400.0, 300.0], [1000.0, 900.0]])


def outputs(generator=None):
    """Outputs of two columns with two levels, (level, column) and (column,); zero by default."""
    make = np.zeros if generator is None else lambda shape: generator.normal(0, 1e-5, shape)
    return {n: make((2, 2) if n in OUTPUTS.profiles else (2,)) for n in OUTPUTS.names}


def test_layer_mass_is_the_pressure_difference_over_the_gravity_given():
    np.testing.assert_allclose(layer_mass(INTERFACES, MOON), [[200, 100], [300, 300]])
    np.testing.assert_allclose(
        layer_mass(INTERFACES, MOON) * 2.0, layer_mass(INTERFACES, E3SM) * 9.80616
    )


def test_integral_weights_each_layer_by_its_mass():
    columns = Columns.between(INTERFACES, MOON)
    profiles = np.array([[1.0, 2.0], [10.0, 20.0]])
    np.testing.assert_allclose(columns.integral(profiles), [3200.0, 6200.0])
    np.testing.assert_allclose(columns.levels_last().integral(profiles.T), [3200.0, 6200.0])


def test_water_budget_uses_the_gravity_and_the_density_of_the_model():
    fields = outputs()
    fields["ptend_q0001"][1] = -5e-6
    fields["cam_out_PRECC"][:] = 300.0 * 5e-6 / 500.0
    columns = Columns.between(INTERFACES, MOON)
    np.testing.assert_allclose(column_water_residual(fields, columns), 0.0, atol=1e-18)
    other = column_water_residual(fields, Columns.between(INTERFACES, E3SM))
    assert (abs(other) > 1e-4).all()


def test_condensation_into_snow_conserves_energy_with_the_heats_of_the_model():
    fields = outputs()
    fields["ptend_q0001"][0] = -1e-6
    fields["ptend_t"][0] = 1e-6 * (3.0e6 + 4.0e5) / 1000.0
    fields["cam_out_PRECSC"] = np.array([200.0, 100.0]) * 1e-6 / 500.0
    columns = Columns.between(INTERFACES, MOON)
    np.testing.assert_allclose(column_heating(fields, columns), 0.0, atol=1e-12)


def test_budgets_do_not_depend_on_where_the_levels_lie():
    fields = outputs(np.random.default_rng(3))
    columns = Columns.between(INTERFACES, E3SM)
    turned = {n: x.T for n, x in fields.items()}
    longwave = np.array([300.0, 450.0])
    for budget in (
        lambda f, c: column_water_residual(f, c),
        lambda f, c: implied_top_radiation(f, c, longwave),
    ):
        np.testing.assert_allclose(
            budget(fields, columns), budget(turned, columns.levels_last()), rtol=1e-13
        )


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("ptend_t", 1000.0),
        ("ptend_q0003", 3.0e6),
        ("cam_out_PRECC", 1.5e9),
        ("ptend_u", 1.0),
        ("cam_out_NETSW", 1.0),
    ],
)
def test_energy_weight_is_made_of_the_constants(name, factor):
    assert energy_factor(name, MOON) == factor
