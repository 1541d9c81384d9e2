"""Noise on the inputs of training, and columns that a training closes."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from climsim.constants import E3SM, PRUNED_LEVELS
from climsim.data.reading.reader import BlockReader
from climsim.data.store.opened import open_store
from climsim.errors import ClimSimError
from climsim.interfaces import ENCODINGS
from climsim.physics.budgets import column_water_residual
from climsim.physics.columns import Columns
from climsim.physics.condensate import total_water
from climsim.training.checkpoint import load_model
from climsim.training.config import NoiseConfig
from climsim.training.noise import InputNoise, noise_factor
from climsim.training.run import train
from climsim.variables import TARGETS
from tests.physical_samples import samples, statistics_of, vector

LEVELS = 16


def noisy_inputs(config, encoding="expanded", epoch=0.0):
    variables = ENCODINGS[encoding].variables
    values = samples(LEVELS, 4000)
    known = statistics_of(values)
    x = vector(values, variables)
    torch.manual_seed(3)
    change = InputNoise(config, ENCODINGS[encoding], LEVELS, known)(x, epoch) - x
    return {n: change[:, s].double().numpy() for n, s in variables.slices(LEVELS).items()}, known


def test_each_group_gets_its_amplitude_in_spreads_of_each_level():
    config = NoiseConfig(temperature=0.1, wind=0.2, forcing=0.3, memory=0.4)
    change, known = noisy_inputs(config)
    for name, amplitude in (
        ("state_t", 0.1), ("state_u", 0.2), ("state_v", 0.2), ("tm_state_u_dyn", 0.3),
        ("state_qn_prvphy", 0.4), ("tm_state_q0001_prvphy", 0.4),
    ):  # fmt: skip
        share = change[name].std(axis=0) / known[name].std
        np.testing.assert_allclose(share, amplitude, rtol=0.1)
    for name in ("state_rh", "state_qn", "pbuf_ozone", "state_ps", "clat"):
        assert not change[name].any(), name


def test_humidity_and_cloud_stay_positive_and_noise_is_white_in_level():
    config = NoiseConfig(humidity=2.0, cloud=2.0, temperature=1.0)
    change, known = noisy_inputs(config, "standard")
    values = samples(LEVELS, 4000)
    for name in ("state_rh", "state_qn"):
        after = change[name] + values[name]
        assert (after >= np.minimum(values[name], 0.0) - 1e-6 * known[name].std.max()).all(), name
        assert (change[name] < 0).any(), name
    together = np.corrcoef(change["state_t"].T)
    assert np.abs(together - np.eye(LEVELS)).max() < 0.1


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", (1, 1, 1)), ("linear", (1, 0.625, 0.25)), ("cosine", (1, 0.625, 0.25))],
)
def test_schedule_goes_from_the_amplitude_to_its_floor(schedule, expected):
    config = NoiseConfig(temperature=0.1, schedule=schedule, decay_epochs=4, floor=0.25)
    found = [noise_factor(config, epoch) for epoch in (0.0, 2.0, 9.0)]
    assert found == pytest.approx(expected)


def test_noise_changes_training_and_its_seed_repeats_it(configure):
    noise = NoiseConfig(temperature=0.5, humidity=0.5, wind=0.5)
    quiet = train(configure("quiet", epochs=1))
    first, second = (
        train(configure(name, epochs=1, recipe={"noise": noise})) for name in ("a", "b")
    )
    assert first.validation_loss == second.validation_loss != quiet.validation_loss
    states = [load_model(r.best_checkpoint).network.state_dict() for r in (first, second)]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert load_model(first.best_checkpoint).card.config["recipe"]["noise"] == asdict(noise)


def test_noise_without_a_known_spread_is_refused():
    with pytest.raises(ClimSimError, match=r"recipe\.noise: expected the spread of state_t"):
        InputNoise(NoiseConfig(temperature=0.1), ENCODINGS["standard"], LEVELS, {})


@pytest.fixture
def four_levels(monkeypatch):
    """Moisture tendencies in the lowest four levels of the store, so that weights matter."""
    monkeypatch.setattr("climsim.transforms.closure.EXPORT_ZERO_LEVELS", PRUNED_LEVELS)


def test_training_under_a_closure_learns_its_weights_and_closes(configure, store_path, four_levels):
    result = train(configure(epochs=1, recipe={"closure": "water", "inputs": "standard"}))
    model = load_model(result.best_checkpoint)
    assert model.transforms.closure.learned.abs().max() > 0
    inputs, _ = next(iter(BlockReader(store_path, split="test", batch_size=32)))
    output = model.predict(inputs).double().numpy()
    fields = {n: output[:, s] for n, s in TARGETS.slices(LEVELS).items()}
    fields["cam_out_PRECC"] = np.maximum(fields["cam_out_PRECC"][:, 0], 0.0)
    fields |= {"ptend_q0002": fields["ptend_qn"], "ptend_q0003": 0.0 * fields["ptend_qn"]}
    ps = inputs[:, ENCODINGS["standard"].variables.slices(LEVELS)["state_ps"]][:, 0].numpy()
    columns = Columns.between(
        open_store(store_path).grid.interface_pressure(ps.astype(float)), E3SM
    ).levels_last()
    moved = columns.integral(np.abs(total_water(fields, "ptend_"))) + fields["cam_out_PRECC"]
    assert (np.abs(column_water_residual(fields, columns)) < 1e-6 * moved).all()


def test_weights_of_a_closure_are_part_of_a_warm_start(configure, four_levels):
    first = train(configure("first", epochs=1, recipe={"closure": "water"}))
    config = configure("second", epochs=1, recipe={"closure": "water"},
                       optimizer={"learning_rate": 1e-30},
                       warm_start=first.best_checkpoint)  # fmt: skip
    learned = [load_model(r.best_checkpoint).transforms.closure.learned
               for r in (first, train(config))]  # fmt: skip
    torch.testing.assert_close(learned[0], learned[1])
    assert learned[0].abs().max() > 0
