import numpy as np
import pytest

from climsim.constants import E3SM, GRAVITY
from climsim.errors import ClimSimError
from climsim.grid import ColumnGrid
from climsim.physics.columns import layer_mass


def small_grid(**changes):
    values = {
        "lat": np.array([-30.0, 10.0]),
        "lon": np.array([0.0, 90.0]),
        "area": np.array([1.0, 3.0]),
        "hyam": np.array([0.05, 0.1, 0.0]),
        "hybm": np.array([0.0, 0.3, 0.9]),
        "hyai": np.array([0.0, 0.1, 0.1, 0.0]),
        "hybi": np.array([0.0, 0.0, 0.6, 1.0]),
    }
    return ColumnGrid(**(values | changes))


def test_hybrid_pressure_by_hand():
    grid = small_grid()
    ps = np.array([1.0e5, 8.0e4])
    np.testing.assert_allclose(grid.midpoint_pressure(ps)[:, 1], [5000, 34000, 72000])
    np.testing.assert_allclose(grid.interface_pressure(ps)[:, 0], [0, 1e4, 7e4, 1e5])


def test_layer_mass_sums_to_surface_pressure_over_gravity():
    grid = small_grid()
    ps = np.array([[1.0e5, 8.0e4], [9.9e4, 7.0e4], [9.0e4, 9.1e4], [9.0e4, 9.2e4]])
    mass = layer_mass(grid.interface_pressure(ps), E3SM)
    assert mass.shape == (4, 3, 2)
    np.testing.assert_allclose(mass.sum(axis=1) * GRAVITY, ps)


def test_area_weights_have_mean_one():
    np.testing.assert_allclose(small_grid().area_weights(), [0.5, 1.5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"area": np.array([1.0, 0.0])}, "area: expected positive numbers, found 0"),
        ({"lon": np.array([1.0])}, "lat, lon and area of one length"),
        ({"hyai": np.zeros(3)}, "expected 3 midpoints and 4 interfaces"),
        ({"lat": np.array([np.nan, 1.0])}, "lat: expected a vector of finite numbers"),
    ],
)
def test_impossible_grids_are_refused(changes, message):
    with pytest.raises(ClimSimError, match=message):
        small_grid(**changes)
