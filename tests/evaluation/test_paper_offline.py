"""Offline metrics by the paper's definitions, computed again from the raw fields in plain NumPy."""

import numpy as np
import pytest

from climsim.evaluation.block import Block
from climsim.evaluation.metrics import crps_ensemble
from climsim.evaluation.offline_dataset import offline_dataset
from climsim.evaluation.offline_score import accumulate
from climsim.variables import OUTPUTS, TARGETS
from tests.grids import make_grid

GRID = make_grid(columns=23, levels=5)
STEPS, LEVELS = 9, GRID.n_levels
BIN = np.minimum((GRID.lat + 90) // 10, 17).astype(int)
Q = OUTPUTS.slice("ptend_q0001", LEVELS)


@pytest.fixture(scope="module")
def fields():
    """Truth and prediction (time, column, feature); a third of the predictions has no rain."""
    rng = np.random.default_rng(4)
    shape = (STEPS, GRID.n_columns, OUTPUTS.size(LEVELS))
    truth = rng.normal(0.3, 1, shape)
    prediction = truth + rng.normal(0.2, 0.5, shape)
    rain = OUTPUTS.slice("cam_out_PRECC", LEVELS).start
    # One sample in each bin that the deciles are formed from.
    rates = 10.0 ** (-9 + 0.01 * rng.permutation(STEPS * GRID.n_columns).reshape(shape[:2]) + 0.002)
    prediction[..., rain] = rates * (rng.random(shape[:2]) > 0.33)
    # Likewise of the true rain, whose bins are wider.
    truth[..., rain] = 10.0 ** (-11.99 + 0.02 * rng.permutation(rates.size).reshape(shape[:2]))
    return truth, prediction


@pytest.fixture(scope="module")
def losses():
    rng = np.random.default_rng(6)
    return tuple(rng.lognormal(0, 1, (STEPS, GRID.n_columns, TARGETS.size(LEVELS))) for _ in "pt")


@pytest.fixture(scope="module")
def metrics(fields, losses):
    parts = [
        Block(
            GRID,
            *(x[cut] for x in fields),
            np.full((len(fields[0][cut]), GRID.n_columns), 1e5),
            np.full((len(fields[0][cut]), GRID.n_columns), 400.0),
            losses=tuple(x[cut] for x in losses),
            members=np.stack([fields[1][cut], fields[1][cut] + 1, 0.5 * fields[1][cut]]),
        )
        for cut in (slice(0, 4), slice(4, None))
    ]
    return offline_dataset(accumulate(parts[0]) + accumulate(parts[1]), GRID)


def area_mean(by_column):
    """Area-weighted mean (bin, ...) of values (column, ...) in bins of latitude that hold any."""
    return {b: np.average(by_column[b == BIN], 0, GRID.area[b == BIN]) for b in set(BIN.tolist())}


def assert_section(found, expected):
    for number, values in expected.items():
        np.testing.assert_allclose(found.isel(latitude=number), values, rtol=1e-9)


def test_bias_by_predicted_rain_has_no_rain_apart_and_deciles_of_active_rain(fields, metrics):
    truth, prediction = fields
    rain = prediction[..., OUTPUTS.slice("cam_out_PRECC", LEVELS).start]
    error = (prediction - truth)[..., Q]
    ends = np.quantile(rain[rain > 0], np.arange(0.1, 1.05, 0.1))
    masks = [rain == 0] + [
        (rain > low) & (rain <= high) for low, high in zip([0, *ends[:-1]], ends, strict=True)
    ]
    weights = [mask * GRID.area for mask in masks]
    expected = [np.tensordot(w, error, axes=2) / w.sum() for w in weights]
    found = metrics["bias_by_predicted_precipitation_ptend_q0001"]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found["rain_decile"].values.tolist()[:2] == ["no rain", "0-10"]


def test_zonal_bias_is_weighted_by_area(fields, metrics):
    error = (fields[1] - fields[0])[..., Q].mean(axis=0)
    assert_section(metrics["bias_section_ptend_q0001"], area_mean(error))


def test_zonal_r2_is_the_area_mean_of_that_of_each_column(fields, metrics):
    truth, prediction = (x[..., Q] for x in fields)
    r2 = 1 - ((prediction - truth) ** 2).sum(0) / ((truth - truth.mean(0)) ** 2).sum(0)
    assert_section(metrics["r2_section_columns_ptend_q0001"], area_mean(r2))
    assert not np.allclose(
        metrics["r2_section_columns_ptend_q0001"], metrics["r2_section_ptend_q0001"], equal_nan=True
    )


def test_sections_of_the_confidence_are_zonal_means_of_its_losses(losses, metrics):
    where = TARGETS.slice("ptend_u", LEVELS)
    for name, loss in zip(("confidence", "true_loss"), losses, strict=True):
        expected = area_mean(loss[..., where].mean(axis=0))
        assert_section(metrics[f"{name}_section_ptend_u"], expected)


def test_published_and_fair_estimators_of_the_crps_are_both_saved(fields, metrics):
    truth, prediction = (x[..., Q].reshape(-1, LEVELS) for x in fields)
    x = np.sort([prediction, prediction + 1, 0.5 * prediction], axis=0)
    skill = np.abs(x - truth).mean(axis=(0, 1))
    gaps = np.diff(x, axis=0) * np.array([2, 2])[:, None, None]
    published = skill - gaps.mean(axis=(0, 1)) / 6
    pairs = np.abs(x[:, None] - x[None]).sum(axis=(0, 1)).mean(axis=0)
    np.testing.assert_allclose(metrics["crps_published_ptend_q0001"], published)
    np.testing.assert_allclose(metrics["crps_fair_ptend_q0001"], skill - pairs / 12)
    np.testing.assert_allclose(metrics["crps_ptend_q0001"], skill - pairs / 18)
    assert "m (m - 1)^2" in metrics["crps_published_ptend_q0001"].attrs["comment"]
    assert "crps_fair_ptend_qn" in metrics


def test_estimators_of_three_members_by_hand():
    x, y = np.array([[0.0], [1.0], [3.0]]), np.array([2.0])
    # The mean distance from the truth is 4/3, and those between members are 1, 2 and 3.
    assert crps_ensemble(y, x, "empirical") == pytest.approx(4 / 3 - 12 / 18)
    assert crps_ensemble(y, x, "fair") == pytest.approx(4 / 3 - 12 / 12)
    assert crps_ensemble(y, x, "published") == pytest.approx(4 / 3 - 12 / 24)
    assert np.isnan(crps_ensemble(y, x[:1], "fair")).all()


def test_moments_of_the_truth_and_its_zonal_mean(fields, metrics):
    truth = fields[0][..., Q]
    flat = truth.reshape(-1, LEVELS)
    np.testing.assert_allclose(metrics["truth_mean_ptend_q0001"], flat.mean(0))
    np.testing.assert_allclose(metrics["truth_deviation_ptend_q0001"], flat.std(0))
    assert_section(metrics["truth_section_ptend_q0001"], area_mean(truth.mean(axis=0)))


def test_scores_in_energy_units_weigh_layer_mass_area_and_latent_heat(fields, metrics):
    edges = GRID.hyai * 1e5 + GRID.hybi * 1e5
    weight = np.diff(edges) / 9.80616 * 2.501e6 * (GRID.area / GRID.area.mean())[:, None]
    truth, prediction = ((x[..., Q] * weight).reshape(-1, LEVELS) for x in fields)
    error = prediction - truth
    np.testing.assert_allclose(metrics["bias_energy_ptend_q0001"], error.mean(0), rtol=1e-6)
    r2 = 1 - (error**2).sum(0) / ((truth - truth.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(metrics["r2_energy_ptend_q0001"], r2, rtol=1e-6)


def test_skill_by_region_is_the_mean_over_levels_above_and_below_400_hpa(fields, metrics):
    truth, prediction = (x[..., Q] for x in fields)
    upper = GRID.hyam * 1e5 + GRID.hybm * 1e5 < 4e4
    for band, (south, north) in {"90S-60S": (-90, -60), "30S-30N": (-30, 30)}.items():
        inside = (GRID.lat >= south) & (GRID.lat < north)
        t, p = (x[:, inside].reshape(-1, LEVELS) for x in (truth, prediction))
        r2 = np.maximum(1 - ((p - t) ** 2).sum(0) / ((t - t.mean(0)) ** 2).sum(0), 0)
        found = metrics["r2_region_ptend_q0001"].sel(band=band)
        np.testing.assert_allclose(found, [r2[upper].mean(), r2[~upper].mean()])


def test_means_by_true_rain_are_over_the_samples_of_each_percentile(fields, metrics):
    truth, prediction = fields
    rain = truth[..., OUTPUTS.slice("cam_out_PRECC", LEVELS).start].ravel()
    share = 100 * (np.argsort(np.argsort(rain)) + 0.5) / rain.size
    values, errors = (x[..., Q].reshape(-1, LEVELS) for x in (truth, prediction - truth))
    for number, (low, high) in enumerate([(0, 10), (10, 20)]):
        chosen = (share >= low) & (share < high)
        for name, expected in (("truth", values), ("bias", errors)):
            found = metrics[f"{name}_by_precipitation_ptend_q0001"][number]
            np.testing.assert_allclose(found, expected[chosen].mean(axis=0))
