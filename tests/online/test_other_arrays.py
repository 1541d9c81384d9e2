"""What a coupled step computes, on torch's arrays instead of NumPy's: the same numbers."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import xarray as xr

from climsim.arrays import (
    Constant,
    anywhere,
    as_array,
    at_least,
    between,
    double,
    like,
    namespace,
    numbers_like,
    sum_onwards,
    to_numpy,
)
from climsim.cards import ModelCard
from climsim.constants import E3SM
from climsim.hosts.gcm.exchange import from_field, tensor_fields
from climsim.interfaces import INTERFACES
from climsim.online import fitting, ring
from climsim.online.budget import step_budgets
from climsim.online.coupler import ModelOutput, couple, split_output
from climsim.online.fields import history_fields
from climsim.online.memory import Memory, assemble
from climsim.online.novelty import Novelty
from climsim.online.run import RunConfig, run_online
from climsim.physics.air import Air
from climsim.runs.coupling import CouplerOptions
from climsim.variables import OUTPUTS, TARGETS, variable
from tests.online.toy_host import COLUMNS, DT, LEVELS, ToyHost, toy_grid

GRID = toy_grid()
OPTIONS = (
    CouplerOptions(),
    CouplerOptions(ramp_factor=0.5, partial_variables=("ptend_t", "cam_out_PRECC")),
    CouplerOptions(ramp_factor=0.5, ocean_only=True),
    CouplerOptions(mixing="confidence", mixing_low=0.9, mixing_high=1.1),
)


def tensors(fields):
    return {name: torch.as_tensor(np.array(values)) for name, values in fields.items()}


def steps(count):
    """Results of the first steps of the toy."""
    host = ToyHost()
    return [host.step_physics() for _ in range(count)]


def as_tensors(result):
    return type(result)(
        result.date,
        tensors(result.inputs),
        tensors(result.tendencies),
        tensors(result.surface),
        tensors(result.diagnostics),
    )


def assert_equal_fields(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert isinstance(found[name], torch.Tensor), name
        np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-30, err_msg=name)


@pytest.mark.parametrize("name", list(INTERFACES))
def test_vectors_of_every_interface_are_assembled_where_the_state_is(name):
    vectors = []
    for convert in (lambda result: result, as_tensors):
        memory, results = Memory(dt=DT), [convert(result) for result in steps(3)]
        for result in results[:2]:
            memory = memory.advance(result.inputs, result.tendencies)
        vectors.append(assemble(INTERFACES[name], results[2].inputs, memory, GRID))
    assert isinstance(vectors[1], torch.Tensor)
    np.testing.assert_array_equal(vectors[1], vectors[0])


@pytest.mark.parametrize("options", OPTIONS)
def test_the_coupler_applies_its_rules_where_the_output_is(options):
    random = np.random.default_rng(1)
    size = OUTPUTS.size(LEVELS) + TARGETS.size(LEVELS)
    output = random.normal(0, 1, (COLUMNS, size)).astype(np.float32)
    output[:, : 6 * LEVELS] *= 1e-5
    output[:, OUTPUTS.size(LEVELS) :] = random.uniform(0.5, 1.5, (COLUMNS, TARGETS.size(LEVELS)))
    (result,) = steps(1)
    handed = []
    for convert, values in ((lambda fields: fields, output), (tensors, torch.as_tensor(output))):
        inputs = convert(result.inputs)
        physics = ModelOutput(convert(result.tendencies), convert(result.surface))
        air = Air.of(inputs, GRID, E3SM)
        network = split_output(values, LEVELS)
        handed.append(couple(network, inputs, air, options, 3, physics, DT))
    expected, found = handed
    assert_equal_fields(found.tendencies, expected.tendencies)
    assert_equal_fields(found.surface, expected.surface)
    assert_equal_fields(found.corrections.counts, expected.corrections.counts)
    assert_equal_fields(found.corrections.added, expected.corrections.added)
    np.testing.assert_array_equal(found.share, expected.share)
    assert sum(int(n.sum()) for n in expected.corrections.counts.values()) > 0


def test_history_fields_and_budgets_are_computed_where_the_step_is():
    (result,) = steps(1)
    there = as_tensors(result)
    found, expected = (Air.of(x.inputs, GRID, E3SM) for x in (there, result))
    assert_equal_fields(history_fields(there, found), history_fields(result, expected))
    budgets = step_budgets(there, found.columns), step_budgets(result, expected.columns)
    assert_equal_fields(*budgets)


class TensorToy(ToyHost):
    """The toy as a host whose fields are tensors."""

    def inputs(self):
        return tensors(super().inputs())

    def physics(self):
        return as_tensors(ToyHost.physics(self._plain()))

    def step_physics(self):
        return self._step(lambda plain: plain.step_physics())

    def step_emulated(self, tendencies, surface):
        assert all(isinstance(x, torch.Tensor) for x in (*tendencies.values(), *surface.values()))
        numbers = [{n: x.numpy() for n, x in fields.items()} for fields in (tendencies, surface)]
        return self._step(lambda plain: plain.step_emulated(*numbers))

    def _plain(self):
        plain = ToyHost(bad_at_step=self.bad_at_step)
        plain.state, plain.fluxes, plain.step_number = self.state, self.fluxes, self.step_number
        return plain

    def _step(self, work):
        plain = self._plain()
        result = as_tensors(work(plain))
        self.state, self.fluxes, self.step_number = plain.state, plain.fluxes, plain.step_number
        return result


class Cooling:
    """A model for vectors of either library."""

    interface, n_levels, confidence, card = INTERFACES["v6"], LEVELS, False, ModelCard()

    def __call__(self, vector):
        xp = namespace(vector)
        output = xp.zeros((vector.shape[0], OUTPUTS.size(LEVELS)), dtype=xp.float32)
        output[:, :LEVELS] = (230.0 - vector[:, :LEVELS]) / 86400.0
        return output


def test_run_on_tensors_gives_the_files_and_record_of_a_run_on_numpy(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "open_model", lambda *_: Cooling())
    (tmp_path / "model.pt").write_bytes(b"a model")
    records = []
    for name, host in (("numpy", ToyHost), ("tensors", TensorToy)):
        first, whole = (
            RunConfig(
                case="toy", folder=tmp_path / name, days=days, host="toy",
                model=tmp_path / "model.pt", coupler=CouplerOptions(spinup_steps=2),
            )
            for days in (0.4, 1.2)
        )  # fmt: skip
        run_online(first, host=host())
        records.append(run_online(whole, host=host()))  # resumed from arrays of NumPy
    expected, found = records
    assert found.sums.corrections == expected.sums.corrections
    assert found.sums.coupled_steps == expected.sums.coupled_steps > 0
    assert found.sums.budgets.sums.keys() == expected.sums.budgets.sums.keys()
    for name, sums in expected.sums.budgets.sums.items():
        assert found.sums.budgets.sums[name] == pytest.approx(sums, rel=1e-9, abs=1e-12)
    assert found.health.daily == [pytest.approx(day) for day in expected.health.daily]
    for path in sorted((tmp_path / "numpy").glob("*.nc")):
        with xr.open_dataset(path) as one, xr.open_dataset(tmp_path / "tensors" / path.name) as two:
            xr.testing.assert_allclose(two, one, rtol=1e-6)
    assert len(list((tmp_path / "numpy").glob("*.nc"))) > 1


class Watched(ToyHost):
    """The toy, which notes the steps after which its health was asked for."""

    def __post_init__(self):
        super().__post_init__()
        self.asked = []

    def health(self):
        self.asked.append(self.step_number)
        return super().health()


class WatchedTensors(TensorToy, Watched):
    """The same with fields that are tensors."""


def steps_of_toy(folder, count, **changes):
    return RunConfig(case="toy", folder=folder, days=count / 72, host="toy", **changes)


@pytest.mark.parametrize(
    ("host", "every", "asked"),
    [
        (Watched, 0, list(range(1, 31))),
        (Watched, 7, [7, 14, 21, 28, 30]),
        (WatchedTensors, 0, [12, 24, 30]),
        (WatchedTensors, 10, [10, 20, 30]),
    ],
)
def test_health_is_looked_at_as_often_as_the_place_of_the_fields_allows(
    tmp_path, host, every, asked
):
    toy = host()
    record = run_online(steps_of_toy(tmp_path, 30, health_steps=every), host=toy)
    assert toy.asked == asked
    assert record.about.config["health_steps"] == every


def test_run_on_tensors_ends_at_the_look_after_its_state_went_bad(tmp_path):
    record = run_online(steps_of_toy(tmp_path, 144), host=TensorToy(bad_at_step=100))
    assert (record.status, record.steps) == ("unstable", 108)
    assert record.health.instability.variable == "T"
    with xr.open_dataset(tmp_path / "toy.last_day.nc") as day:
        np.testing.assert_array_equal(day["step"], np.arange(36, 108))
        assert day["state_t"][64, 3, 2] < 400 < day["state_t"][65, 3, 2]


def test_steps_of_the_last_day_wait_no_longer_than_memory_allows(tmp_path, monkeypatch):
    block = 4 * 7 * sum(LEVELS if variable(n).profile else 1 for n in ring.CONTENT)
    monkeypatch.setattr(ring, "_MOST_WAITING", 3 * block)
    days = ring.LastDays([ring.LastDay(tmp_path / "ring.bin", GRID, DT)])
    for number, result in enumerate(steps(5)):
        days.add(number, as_tensors(result), (0,))
    assert days.files[0].read(10)[0] == [0, 1, 2, 3]
    days.settle()
    assert days.files[0].read(10)[0] == [0, 1, 2, 3, 4]


def test_novelty_is_computed_where_the_vector_is():
    vector = np.random.default_rng(2).normal(size=(COLUMNS, 4))
    novelty = Novelty(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 0.0, 2.0, 0.5]))
    np.testing.assert_allclose(novelty(torch.as_tensor(vector)), novelty(vector), rtol=1e-12)


def test_numbers_that_never_change_are_copied_to_a_device_once():
    constant, tensor = Constant([0.5, 1.5]), torch.zeros(1)
    assert constant.like(np.zeros(1)) is constant.values
    assert constant.like(tensor) is constant.like(torch.ones(3))
    np.testing.assert_array_equal(constant.like(tensor), [0.5, 1.5])
    assert numbers_like(3, tensor, first=2).tolist() == [2, 3, 4]
    np.testing.assert_array_equal(numbers_like(3, np.zeros(1), first=2), [2, 3, 4])


def test_arrays_go_from_the_embedded_model_to_torch_and_back_unchanged():
    base = jnp.arange(12.0).reshape(3, 4)
    arrays = {
        "real": base,
        "whole": base.astype(jnp.int32),
        "flag": base % 2 == 0,
        "turned": base.T,
    }
    for name, tensor in tensor_fields(arrays).items():
        np.testing.assert_array_equal(tensor, np.asarray(arrays[name]))
        assert isinstance(from_field(tensor.double()), jnp.ndarray)
        np.testing.assert_array_equal(from_field(tensor.double()), arrays[name])
    np.testing.assert_array_equal(from_field(torch.arange(8.0)[::2]), [0.0, 2.0, 4.0, 6.0])


def test_arrays_stay_in_their_library():
    tensor = torch.tensor([1.0, -2.0, float("nan")], dtype=torch.float32)
    assert double(tensor).dtype == torch.float64
    assert double([1, 2]).dtype == np.float64
    assert isinstance(like(np.ones(2), tensor), torch.Tensor)
    assert isinstance(like(tensor, np.ones(2)), np.ndarray)
    assert isinstance(as_array([1.0]), np.ndarray)
    np.testing.assert_array_equal(at_least(tensor, 0.0), [1.0, 0.0, np.nan])
    np.testing.assert_array_equal(to_numpy(tensor), np.array([1.0, -2.0, np.nan], np.float32))
    with pytest.raises(TypeError):
        namespace(tensor, np.ones(2))


def test_sums_onwards_are_those_of_numpy_bit_for_bit_and_leave_their_terms():
    terms = np.random.default_rng(3).normal(size=(7, 5))
    expected = np.cumsum(terms[::-1], axis=0)[::-1]
    np.testing.assert_array_equal(sum_onwards(terms), expected)
    np.testing.assert_allclose(sum_onwards(torch.as_tensor(terms)), expected, rtol=1e-15)
    assert not np.array_equal(terms, expected)


def test_values_between_two_numbers_are_those_of_numpys_clip_in_every_library():
    values = np.array([-2.0, 0.25, 3.0, np.nan, np.inf], np.float32)
    expected = np.clip(values, 0.0, 1.0)
    found = between(values, 0.0, 1.0)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(between(torch.as_tensor(values), 0.0, 1.0), expected)
    np.testing.assert_array_equal(between(np.array([-1, 4, 9]), 0, 5), [0, 4, 5])


def test_only_numpy_says_that_a_condition_holds_nowhere():
    nowhere = np.zeros((2, 3), dtype=bool)
    assert not anywhere(nowhere)
    assert anywhere(np.array([False, True]))
    assert anywhere(torch.as_tensor(nowhere))
