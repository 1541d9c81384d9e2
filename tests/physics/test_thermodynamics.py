import numpy as np
import pytest

from climsim.constants import E3SM
from climsim.physics import thermodynamics as th


def test_saturation_over_liquid_matches_measured_values():
    # Goff-Gratch values of the Smithsonian tables [Pa] at 0, 20 and 30 degC.
    measured = {273.15: 610.8, 293.15: 2337.3, 303.15: 4243.0}
    for temperature, pressure in measured.items():
        assert th.saturation_pressure_liquid(temperature) == pytest.approx(pressure, rel=2e-3)


def test_saturation_over_ice_matches_measured_values():
    # Smithsonian tables [Pa] at -20, -40 and -60 degC.
    measured = {253.15: 103.2, 233.15: 12.84, 213.15: 1.080}
    for temperature, pressure in measured.items():
        assert th.saturation_pressure_ice(temperature) == pytest.approx(pressure, rel=3e-3)


def test_ice_branches_at_their_edges():
    assert th.saturation_pressure_ice(280.0) == th.saturation_pressure_liquid(280.0)
    cold = 180.0 - 273.16
    parabola = 100 * (0.00763685 + cold * (0.000151069 + cold * 7.48215e-7))
    assert th.saturation_pressure_ice(180.0) == pytest.approx(parabola, rel=1e-12)
    assert th.saturation_pressure_ice(150.0) == th.saturation_pressure_ice(173.16)


def test_liquid_fraction_is_linear_between_its_bounds():
    np.testing.assert_allclose(
        th.liquid_fraction([240.0, 253.16, 258.16, 273.16, 300.0]), [0, 0, 0.25, 1, 1], atol=1e-12
    )


def test_relative_humidity_is_one_at_saturation():
    t = np.array([[220.0, 260.0], [265.0, 295.0]])
    p = np.array([[2.0e4, 5.0e4], [7.0e4, 1.0e5]])
    np.testing.assert_allclose(th.relative_humidity(th.saturation_humidity(t, p), t, p), 1.0)


def test_isothermal_heights_follow_the_barometric_formula():
    interfaces = np.geomspace(100.0, 1.0e5, 41)[:, None] * np.ones((1, 3))
    t = np.full((40, 3), 250.0)
    z = th.midpoint_heights(t, np.zeros_like(t), interfaces, E3SM)
    midpoint = np.sqrt(interfaces[1:] * interfaces[:-1])
    np.testing.assert_allclose(z, 287.0 * 250.0 / 9.80616 * np.log(1.0e5 / midpoint), rtol=1e-10)


def test_tropopause_is_the_lowest_stable_level_above_400_hpa():
    pressure = np.array([50.0, 100.0, 200.0, 300.0, 350.0, 600.0, 900.0])[:, None] * 100
    heights = np.array([20.0, 16.0, 12.0, 9.0, 8.0, 4.0, 1.0])[:, None] * 1000
    theta = np.array([520.0, 420.0, 352.0, 325.0, 322.0, 305.0, 300.0])[:, None]
    kappa = 287.0 / 1004.64
    t = theta * (pressure / 1e5) ** kappa
    # d theta/dz over k-1, k+1 in K/km: level 1 21, level 2 13.6, level 3 7.5, level 4 4.
    assert th.tropopause_level(t, heights, pressure, E3SM).tolist() == [2]
    flat = np.full_like(t, 300.0) * (pressure / 1e5) ** kappa
    assert th.tropopause_level(flat, heights, pressure, E3SM).tolist() == [-1]


@pytest.mark.parametrize("levels", [1, 2])
def test_columns_of_too_few_levels_for_a_gradient_have_no_tropopause(levels):
    t, pressure = np.full((levels, 3), 220.0), np.linspace(1e4, 3e4, levels * 3).reshape(levels, 3)
    heights = th.midpoint_heights(t, 0 * t, np.linspace(1e3, 1e5, levels + 1)[:, None], E3SM)
    assert th.tropopause_level(t, heights, pressure, E3SM).tolist() == [-1, -1, -1]
