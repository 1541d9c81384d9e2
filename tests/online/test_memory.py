"""The memory of t-1 and t-2 and the vectors at the interface."""

import numpy as np
import pytest

from climsim.errors import ClimSimError
from climsim.interfaces import INTERFACES, V2, V6
from climsim.online.memory import Memory, assemble
from climsim.physics.thermodynamics import relative_humidity
from climsim.variables import EARLIER_SCALARS
from tests.online.toy_host import COLUMNS, DT, LEVELS, ToyHost, toy_grid


def run_steps(count):
    """Inputs, tendencies and memory of the first steps of the toy."""
    host, memory, history = ToyHost(), Memory(dt=DT), []
    for _ in range(count):
        result = host.step_physics()
        memory = memory.advance(result.inputs, result.tendencies)
        history.append(result)
    return host, memory, history


def total_water(fields, prefix):
    return sum(fields[f"{prefix}q000{i}"] for i in (1, 2, 3))


def test_features_are_those_of_the_data_set_two_steps_back():
    host, memory, (_, second, third) = run_steps(3)
    features = memory.features(host.inputs())
    np.testing.assert_array_equal(features["state_u_prvphy"], third.tendencies["ptend_u"])
    np.testing.assert_array_equal(
        features["tm_state_q0003_prvphy"], second.tendencies["ptend_q0003"]
    )
    after = third.inputs["state_t"] + DT * third.tendencies["ptend_t"]
    np.testing.assert_allclose(
        features["state_t_dyn"], (host.inputs()["state_t"] - after) / DT, rtol=1e-12, atol=1e-18
    )
    after = total_water(second.inputs, "state_") + DT * total_water(second.tendencies, "ptend_")
    earlier = (total_water(third.inputs, "state_") - after) / DT
    np.testing.assert_allclose(features["tm_state_q0_dyn"], earlier, rtol=1e-9, atol=1e-20)
    profiles = {n for n in V6.variables.profiles if n.endswith(("_dyn", "_prvphy"))}
    assert set(features) == {*profiles, *EARLIER_SCALARS}
    for name in EARLIER_SCALARS:
        np.testing.assert_array_equal(features[name], third.inputs[name.removeprefix("tm_")])


def test_vectors_of_the_other_published_sets_hold_the_step_before_and_the_column():
    host, memory, (_, second) = run_steps(2)
    located = INTERFACES["located"]
    vector = assemble(located, host.inputs(), memory, toy_grid())
    values = located.variables.fields(vector, LEVELS)
    np.testing.assert_array_equal(values["icol"], np.arange(1, COLUMNS + 1))
    expected = second.inputs["pbuf_SOLIN"].astype(np.float32)
    np.testing.assert_array_equal(values["tm_pbuf_SOLIN"], expected)
    # One step of memory is enough where the set looks back no further.
    host, memory, (first,) = run_steps(1)
    previous = INTERFACES["previous"]
    values = previous.variables.fields(
        assemble(previous, host.inputs(), memory, toy_grid()), LEVELS
    )
    expected = first.tendencies["ptend_u"].T.astype(np.float32)
    np.testing.assert_array_equal(values["state_u_prvphy"], expected)
    with pytest.raises(ClimSimError, match="interface located needs 2 earlier steps, found 1"):
        assemble(located, host.inputs(), memory, toy_grid())


def test_the_step_before_the_two_remembered_ones_is_forgotten():
    *_, long = run_steps(4)
    host, memory, _ = run_steps(4)
    fresh = Memory(dt=DT)
    for result in long[1:]:
        fresh = fresh.advance(result.inputs, result.tendencies)
    for name, value in memory.features(host.inputs()).items():
        np.testing.assert_array_equal(value, fresh.features(host.inputs())[name])


def test_two_steps_are_needed():
    host, memory, _ = run_steps(1)
    with pytest.raises(ClimSimError, match="needs 2 earlier steps, found 1"):
        memory.features(host.inputs())


def test_memory_survives_a_restart_file(tmp_path):
    host, memory, _ = run_steps(3)
    np.savez(tmp_path / "memory.npz", **memory.to_arrays())
    with np.load(tmp_path / "memory.npz") as file:
        back = Memory.from_arrays(dict(file))
    assert back.steps == 2
    for name, value in memory.features(host.inputs()).items():
        np.testing.assert_array_equal(back.features(host.inputs())[name], value)


@pytest.mark.parametrize("interface", [V2, V6])
def test_interface_vector_holds_each_variable_at_its_place(interface):
    host, memory, _ = run_steps(2)
    inputs, grid = host.inputs(), toy_grid()
    vector = assemble(interface, inputs, memory, grid)
    assert vector.shape == (COLUMNS, interface.variables.size(LEVELS))
    assert vector.dtype == np.float32
    places = interface.variables.slices(LEVELS)
    np.testing.assert_array_equal(vector[:, places["state_v"]], inputs["state_v"].T.astype("f4"))
    humidity = relative_humidity(inputs["state_q0001"], inputs["state_t"], inputs["state_pmid"])
    np.testing.assert_array_equal(vector[:, places["state_rh"]], humidity.T.astype("f4"))
    np.testing.assert_array_equal(
        vector[:, places["state_ps"]][:, 0], inputs["state_ps"].astype("f4")
    )
    assert np.isfinite(vector).all()


def test_location_is_part_of_the_expanded_interface():
    host, memory, _ = run_steps(2)
    vector = assemble(V6, host.inputs(), memory, toy_grid())
    np.testing.assert_allclose(vector[:, -1], np.sin(np.deg2rad(toy_grid().lat)), rtol=1e-6)
    np.testing.assert_allclose(vector[:, -2], np.cos(np.deg2rad(toy_grid().lat)), rtol=1e-6)
