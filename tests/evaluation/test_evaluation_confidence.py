"""Confidence of a model beside its true loss, and the tropopause, against independent values."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from climsim.cards import LossCard, ModelCard
from climsim.evaluation.confidence import LOSS_EDGES, ConfidenceStatistics, loss_of_confidence
from climsim.evaluation.config import OfflineConfig
from climsim.evaluation.offline import stream
from climsim.evaluation.offline_dataset import offline_dataset
from climsim.evaluation.tropopause import lapse_rate_tropopause
from climsim.interfaces import V2, Interface
from climsim.physics.condensate import rearrange
from climsim.variables import OUTPUTS, TARGETS
from tests.evaluation_synthetic import LinearModel, write_store

LEVELS = 6


@dataclass
class Confident:
    """A model whose predicted loss is twice a constant for each target."""

    n_levels: int = LEVELS
    interface: Interface = V2
    confidence: bool = True
    loss: str = "huber"
    card: ModelCard = field(init=False)

    def __post_init__(self):
        scale = np.full(TARGETS.size(self.n_levels), 1e3)
        scale[8] = 0.0
        loss = LossCard(self.loss, 1.0, tuple(scale)) if self.loss else None
        self.card = ModelCard(loss=loss)

    def __call__(self, vector):
        outputs = LinearModel(self.n_levels)(vector)
        predicted = np.linspace(0.1, 1.0, TARGETS.size(self.n_levels), dtype=np.float32)
        return np.hstack([outputs, np.broadcast_to(predicted, (vector.shape[0], predicted.size))])


def to_targets(outputs):
    return rearrange(outputs, OUTPUTS, TARGETS, LEVELS)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "store.zarr", levels=LEVELS)


def test_loss_is_the_training_loss_of_scaled_and_pruned_targets():
    rng = np.random.default_rng(0)
    truth, guess = rng.normal(0, 1e-3, (2, 5, OUTPUTS.size(LEVELS)))
    for name in ("huber", "mse", "l1"):
        model = Confident(loss=name)
        found = loss_of_confidence(model)(to_targets(guess), to_targets(truth))
        error = to_targets(guess - truth) * np.asarray(model.card.loss.scale)
        parabola = 0.5 * error**2
        expected = {
            "huber": np.where(abs(error) < 1, parabola, abs(error) - 0.5),
            "mse": 2 * parabola,
            "l1": abs(error),
        }
        np.testing.assert_allclose(found, expected[name], rtol=1e-12)
        assert (found[:, 8] == 0).all()
        assert (abs(error) > 1).any()


def test_cloud_target_is_liquid_plus_ice():
    outputs = np.arange(float(OUTPUTS.size(LEVELS)))
    cloud = to_targets(outputs)[TARGETS.slice("ptend_qn", LEVELS)]
    liquid, ice = (outputs[OUTPUTS.slice(f"ptend_q000{i}", LEVELS)] for i in (2, 3))
    np.testing.assert_array_equal(cloud, liquid + ice)


def test_correlation_agrees_with_numpy_and_does_not_depend_on_chunks():
    rng = np.random.default_rng(1)
    size = TARGETS.size(LEVELS)
    true = rng.lognormal(-2, 1, (50, size))
    predicted = true * rng.lognormal(0, 0.5, true.shape)
    predicted[:, 4] = 0.25
    whole = ConfidenceStatistics.of(predicted, true, LEVELS)
    parts = [
        ConfidenceStatistics.of(predicted[a:b], true[a:b], LEVELS) for a, b in ((7, 50), (0, 7))
    ]
    merged = parts[0] + parts[1]
    for statistics in (whole, merged):
        found = statistics.correlation()
        expected = [np.corrcoef(predicted[:, i], true[:, i])[0, 1] for i in (0, 9, size - 1)]
        np.testing.assert_allclose(found[[0, 9, size - 1]], expected)
        assert np.isnan(found[4])
    np.testing.assert_allclose(merged.bin_true, whole.bin_true)


def test_reliability_bins_hold_every_sample_and_the_mean_loss():
    size = TARGETS.size(LEVELS)
    predicted, true = np.full((4, size), 0.02), np.full((4, size), 0.5)
    state = ConfidenceStatistics.of(predicted, true, LEVELS)
    at = np.searchsorted(LOSS_EDGES, 0.02) - 1
    profile, scalar = 0, len(TARGETS.names) - 1
    assert state.bin_count[profile, at] == 4 * LEVELS
    assert state.bin_count[scalar, at] == 4
    assert state.bin_count.sum() == predicted.size
    assert state.bin_true[scalar, at] == pytest.approx(2.0)


def test_confidences_of_a_model_are_scored_beside_its_outputs(store, tmp_path):
    config = OfflineConfig(tmp_path / "m.pt", store.path, tmp_path / "o.nc", batch_columns=9)
    found = offline_dataset(stream([Confident()], store, config), store.grid)
    plain = offline_dataset(stream([LinearModel(LEVELS)], store, config), store.grid)
    np.testing.assert_allclose(found["r2_ptend_t"], plain["r2_ptend_t"])
    assert "confidence_true" not in plain
    samples = int(found.attrs["samples"])
    assert float(found["confidence_count"].sel(target="ptend_t").sum()) == samples * LEVELS
    assert np.isnan(found["confidence_correlation_ptend_t"]).all()
    again = stream([Confident()], store, replace(config, batch_columns=1000))
    np.testing.assert_allclose(
        found["confidence_true"], offline_dataset(again, store.grid)["confidence_true"]
    )


def test_confidences_without_a_named_loss_are_left_out_with_a_warning(caplog):
    assert loss_of_confidence(Confident(loss="")) is None
    assert "does not name its training loss" in caplog.text
    assert loss_of_confidence(LinearModel(LEVELS)) is None


def test_tropopause_of_a_piecewise_linear_atmosphere_is_at_its_kink():
    heights = np.arange(24_000.0, 0.0, -500.0)[:, None] * np.ones(3)
    pressure = 1e5 * np.exp(-heights / 7000.0)
    kink = np.array([9_000.0, 12_000.0, 16_000.0])
    temperature = 290 - 6.5e-3 * np.minimum(heights, kink)
    found = lapse_rate_tropopause(temperature, heights, pressure)
    np.testing.assert_allclose(found, 1e5 * np.exp(-kink / 7000.0))


def test_thin_inversion_is_no_tropopause():
    heights = np.arange(20_000.0, 0.0, -500.0)[:, None]
    pressure = 1e5 * np.exp(-heights / 7000.0)
    temperature = 290 - 6.5e-3 * heights
    temperature[heights[:, 0] == 8_000.0] += 4.0
    assert np.isnan(lapse_rate_tropopause(temperature, heights, pressure))
