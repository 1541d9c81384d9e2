"""Offline metrics of a store: right values, right labels, the same for every block size."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import xarray
from sklearn.metrics import r2_score

from climsim.cards import ModelCard, TrainingCard
from climsim.errors import ClimSimError
from climsim.evaluation import offline
from climsim.evaluation.config import OfflineConfig
from climsim.evaluation.members import Member, training_of
from climsim.evaluation.metrics import capped_mean
from climsim.evaluation.non_finite import NonFinite
from climsim.evaluation.offline import (
    check_models,
    compare_data,
    ensemble_of,
    evaluate_offline,
    stream,
)
from climsim.evaluation.offline_dataset import offline_dataset
from climsim.evaluation.offline_score import PERCENTILE_EDGES
from climsim.evaluation.predictions import StoredPredictions
from climsim.evaluation.saved import open_metrics
from climsim.evaluation.scores.parts import percentile_groups
from climsim.interfaces import V2, V6, Interface
from climsim.netcdf import write_netcdf
from climsim.variables import OUTPUTS
from tests.cf_checker import violations_of_metrics
from tests.evaluation_synthetic import LinearModel, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "store.zarr", steps=19)


@pytest.fixture
def config(store, tmp_path):
    model = tmp_path / "unet-standard-7.pt"
    model.write_bytes(b"a file to hash")
    return OfflineConfig(model, store.path, tmp_path / "offline.nc", batch_columns=5)


@pytest.fixture(scope="module")
def direct(store):
    """Truth and prediction of the whole test split at once, (sample, feature)."""
    steps = store.steps("test")

    def read(variables):
        parts = [store.array(n)[:][steps] for n in variables.names]
        parts = [p if p.ndim == 3 else p[..., None] for p in parts]
        return np.concatenate(parts, axis=-1).reshape(-1, variables.size(store.n_levels))

    prediction = LinearModel(store.n_levels)(read(V2.variables))
    return read(OUTPUTS).astype(np.float64), prediction.astype(np.float64)


@pytest.fixture
def metrics(store, config):
    return offline_dataset(stream([LinearModel(store.n_levels)], store, config), store.grid)


def test_r2_and_errors_agree_with_scikit_learn_on_the_whole_split(store, metrics, direct):
    truth, prediction = direct
    for name in OUTPUTS.names:
        where = OUTPUTS.slice(name, store.n_levels)
        t, p = truth[:, where], prediction[:, where]
        defined = t.std(axis=0) > 0
        expected = r2_score(t, p, multioutput="raw_values")
        found = np.atleast_1d(metrics[f"r2_{name}"])
        np.testing.assert_allclose(found[defined], expected[defined], rtol=1e-9)
        assert np.isnan(found[~defined]).all()
        np.testing.assert_allclose(
            np.atleast_1d(metrics[f"mae_{name}"]), np.abs(p - t).mean(axis=0), rtol=1e-9
        )
        np.testing.assert_allclose(
            np.atleast_1d(metrics[f"bias_{name}"]), (p - t).mean(axis=0), rtol=1e-7
        )


def test_climsim_r2_is_the_mean_over_columns_of_r2_over_time(store, metrics, direct):
    columns = store.n_columns
    where = OUTPUTS.slice("ptend_u", store.n_levels)
    truth, prediction = (x.reshape(-1, columns, x.shape[1])[..., where] for x in direct)
    per_column = [
        r2_score(truth[:, c], prediction[:, c], multioutput="raw_values") for c in range(columns)
    ]
    np.testing.assert_allclose(metrics["r2_climsim_ptend_u"], np.mean(per_column, axis=0))


def test_condensate_is_scored_as_the_sum_of_its_phases(store, metrics, direct):
    parts = [OUTPUTS.slice(f"ptend_q000{i}", store.n_levels) for i in (2, 3)]
    truth, prediction = (x[:, parts[0]] + x[:, parts[1]] for x in direct)
    defined = truth.std(axis=0) > 0
    expected = r2_score(truth[:, defined], prediction[:, defined], multioutput="raw_values")
    np.testing.assert_allclose(metrics["r2_ptend_qn"][defined], expected, rtol=1e-5)
    assert np.isnan(metrics["r2_ptend_qn"][~defined]).all()
    assert metrics["rmse_energy_ptend_qn"].attrs["units"] == "W m-2"


def test_condensate_does_not_count_twice_in_the_mean_over_outputs(store, metrics):
    scores = [np.atleast_1d(metrics[f"r2_{n}"]) for n in OUTPUTS.names]
    values = np.concatenate(scores)
    assert float(metrics["r2_mean"]) == pytest.approx(capped_mean(values, np.isnan(values)))


def test_skill_by_surface_type_is_that_of_its_samples(store, metrics, direct):
    where = OUTPUTS.slice("ptend_t", store.n_levels)
    steps = store.steps("test")
    for kind, name in (("land", "LAND"), ("ocean", "OCN"), ("sea ice", "ICE")):
        chosen = store.array(f"cam_in_{name}FRAC")[:][steps].ravel() > 0.5
        assert 0 < chosen.sum() < chosen.size
        truth, prediction = (x[chosen][:, where] for x in direct)
        found = metrics.sel(surface=kind)
        expected = r2_score(truth, prediction, multioutput="raw_values")
        np.testing.assert_allclose(found["r2_surface_ptend_t"], expected, rtol=1e-6)
        np.testing.assert_allclose(
            found["bias_surface_ptend_t"], (prediction - truth).mean(axis=0), rtol=1e-6
        )


def test_training_time_is_summed_over_members_and_unknown_where_one_is():
    first = TrainingCard(hours=2.5, device="CPU")
    single = ModelCard(training=first)
    assert training_of([single]) == (2.5, "CPU")
    several = ModelCard(members=(first, TrainingCard(hours=1.5, device="GPU")))
    assert training_of([several]) == (4.0, "CPU, GPU")
    hours, device = training_of([single, ModelCard()])
    assert np.isnan(hours)
    assert device == "CPU"


def test_levels_without_variance_are_undefined_and_counted(metrics):
    assert np.isnan(metrics["r2_ptend_q0002"][:2]).all()
    assert np.isfinite(metrics["r2_ptend_q0002"][2:]).all()
    assert int(metrics["undefined_outputs"]) == 4


def test_metrics_do_not_depend_on_blocks_or_batches(store, config, metrics, monkeypatch):
    monkeypatch.setattr(offline, "_BLOCK_COLUMNS", 1)
    other = stream([LinearModel(store.n_levels)], store, replace(config, batch_columns=1000))
    # Errors of opposite signs cancel in a bias, so the tolerance is relative to the spread.
    for name, array in offline_dataset(other, store.grid).items():
        scale = float(np.nanmax(np.abs(metrics[name]))) if array.size else 1.0
        np.testing.assert_allclose(array, metrics[name], rtol=1e-6, atol=1e-6 * scale)


def test_energy_weighting_of_a_hand_worked_column(store, metrics, direct):
    truth, prediction = direct
    grid, steps = store.grid, store.steps("test")
    pressure = store.array("state_ps")[:][steps]
    thickness = np.diff(
        grid.hyai[:, None] * 1e5 + grid.hybi[:, None] * pressure[:, None, :], axis=1
    )
    weight = 1004.64 * np.moveaxis(thickness, 1, 2) / 9.80616
    weight = weight * (grid.area / grid.area.mean())[:, None]
    where = OUTPUTS.slice("ptend_t", store.n_levels)
    error = (prediction - truth)[:, where].reshape(weight.shape) * weight
    expected = np.abs(error).mean(axis=(0, 1))
    np.testing.assert_allclose(metrics["mae_energy_ptend_t"], expected, rtol=1e-6)


def test_section_of_a_bin_with_one_column_is_the_score_of_that_column(store, metrics, direct):
    columns = store.n_columns
    where = OUTPUTS.slice("ptend_t", store.n_levels)
    truth, prediction = (x.reshape(-1, columns, x.shape[1])[:, 0, where] for x in direct)
    expected = r2_score(truth, prediction, multioutput="raw_values")
    assert store.grid.lat[0] < -80
    np.testing.assert_allclose(metrics["r2_section_ptend_t"][0], expected)
    empty = ~np.isin(np.arange(18), ((store.grid.lat + 90) // 10).astype(int))
    assert np.isnan(metrics["r2_section_ptend_t"].values[empty]).all()


def test_bias_by_precipitation_sums_to_the_bias(store, metrics, direct):
    truth, prediction = direct
    levels = store.n_levels
    rain = truth[:, OUTPUTS.slice("cam_out_PRECC", levels).start]
    error = (prediction - truth)[:, OUTPUTS.slice("ptend_q0001", levels)]
    bias = metrics["bias_by_precipitation_ptend_q0001"].values
    highest = bias[np.isfinite(bias).all(axis=1)][-1]
    heaviest = [error[np.argsort(rain)[-k:]].mean(axis=0) for k in range(1, rain.size // 2)]
    assert np.abs(np.array(heaviest) - highest).max(axis=1).min() < 1e-12
    lowest = bias[0]
    n = round(0.1 * rain.size)
    around = [error[np.argsort(rain)[:k]].mean(axis=0) for k in range(n - 2, n + 3)]
    assert np.abs(np.array(around) - lowest).max(axis=1).min() < 1e-12


def test_percentile_groups_follow_the_cumulated_counts():
    counts = np.array([0.0, 50.0, 40.0, 9.0, 1.0])
    assert PERCENTILE_EDGES[:2] == (0.0, 10)
    groups = percentile_groups(counts)
    assert groups[0] == -1
    assert [PERCENTILE_EDGES[g] for g in groups[1:]] == [20, 70, 90, 99]


def test_every_metric_has_units_and_a_long_name(metrics):
    for name, array in metrics.items():
        assert array.attrs.get("units"), name
        assert array.attrs.get("long_name"), name


def test_model_of_another_size_is_refused_in_one_line(store, config):
    class Short(LinearModel):
        def __call__(self, inputs):
            return super().__call__(inputs)[:, :-1]

    with pytest.raises(ClimSimError, match=r"returned shape \(5, 43\), expected \(5, 44\)"):
        stream([Short(store.n_levels)], store, config)


def test_ensemble_is_scored_by_its_mean_and_its_crps(store, config, direct):
    models = [LinearModel(store.n_levels, seed=s) for s in (11, 12, 13)]
    found = offline_dataset(stream(models, store, config), store.grid)
    steps = store.steps("test")
    inputs = [store.array(n)[:][steps] for n in V2.variables.names]
    inputs = np.concatenate([x if x.ndim == 3 else x[..., None] for x in inputs], axis=-1)
    guesses = np.stack([m(inputs.reshape(-1, inputs.shape[-1])) for m in models])
    truth = direct[0]
    where = OUTPUTS.slice("ptend_u", store.n_levels)
    expected = r2_score(truth[:, where], guesses.mean(axis=0)[:, where], multioutput="raw_values")
    np.testing.assert_allclose(found["r2_ptend_u"], expected, rtol=1e-5, atol=1e-6)
    pairs = np.abs(guesses[:, None] - guesses[None]).mean(axis=(0, 1)) / 2
    crps = (np.abs(guesses - truth).mean(axis=0) - pairs).mean(axis=0)
    np.testing.assert_allclose(found["crps_ptend_u"], crps[where], rtol=1e-5)
    spread = np.sqrt(guesses.var(axis=0).mean(axis=0))
    np.testing.assert_allclose(found["spread_ptend_u"], spread[where], rtol=1e-5)


def test_ensemble_is_named_by_what_its_members_share():
    members = [Member("unet", "v6", s) for s in (7, 43)]
    assert ensemble_of(members).label == "unet-v6"
    assert ensemble_of([*members, Member("convnext", "v6", 7)]).label == "ensemble-v6"
    assert ensemble_of(members[:1]) == members[0]


def test_empty_split_and_unknown_interface_are_refused(store, config):
    with pytest.raises(ClimSimError, match="'validation' has no step"):
        stream([LinearModel(store.n_levels)], store, replace(config, split="validation"))
    with pytest.raises(ClimSimError, match="interface 'v9'"):
        unknown = Interface("v9", V2.variables, OUTPUTS, 0)
        check_models([LinearModel(store.n_levels, interface=unknown)], store, config)
    with pytest.raises(ClimSimError, match="expects 9"):
        check_models([LinearModel(9)], store, config)
    pair = [LinearModel(store.n_levels), LinearModel(store.n_levels, interface=V6)]
    with pytest.raises(ClimSimError, match="ensembles of one interface"):
        check_models(pair, store, replace(config, members=(config.model.with_name("b.pt"),)))


def test_model_of_other_processes_than_the_data_is_refused(config):
    data = SimpleNamespace(time_step=1200.0, emulated_processes=frozenset({"convection"}))
    model = SimpleNamespace(card=ModelCard(emulated_processes=frozenset({"radiation"})))
    with pytest.raises(ClimSimError, match=r"7\.pt: expected .* convection, as store .* radiation"):
        compare_data([model], data, config)


@pytest.mark.parametrize(("trained", "named"), [(600.0, True), (1200.0, False), (None, False)])
def test_model_of_another_time_step_than_the_data_is_named(config, caplog, trained, named):
    data = SimpleNamespace(time_step=1200.0, emulated_processes=frozenset())
    compare_data([SimpleNamespace(card=ModelCard(time_step=trained))], data, config)
    expected = f"trained on steps of 600 s, the store {config.store} has steps of 1200 s"
    assert (expected in caplog.text) is named


def test_zero_batch_is_refused_by_name(config):
    with pytest.raises(ClimSimError, match=r"batch_columns: .*found 0"):
        replace(config, batch_columns=0)


def test_file_carries_member_and_provenance_and_is_not_made_twice(store, config, monkeypatch):
    class Emulator(LinearModel):
        parameters = 8
        metadata: ClassVar = {}
        card = ModelCard(training=TrainingCard("unet", "standard", 7))

    calls = []

    def load(path):
        calls.append(path)
        return Emulator(store.n_levels)

    monkeypatch.setattr("climsim.export.loading.load_emulator", load)
    seen = []
    assert evaluate_offline(config, lambda done, total: seen.append((done, total))) == config.out
    evaluate_offline(config)
    assert len(calls) == 1
    assert seen[-1] == (13, 13)
    with xarray.open_dataset(config.out) as saved:
        assert saved.attrs["member"] == "unet-standard-7"
        assert saved.attrs["parameters"] == 8
        assert json.loads(saved.attrs["input_hashes"])["store"] == store.fingerprint
        assert saved["r2_ptend_t"].dims == ("level",)
    assert violations_of_metrics(config.out, config.out.parent) == []
    config.model.write_bytes(b"another model")
    evaluate_offline(config)
    assert len(calls) == 2


def test_axis_of_layers_in_older_metrics_has_its_present_name(tmp_path):
    old = xarray.Dataset({"r2_region_ptend_t": (("band", "height"), np.zeros((3, 2)))})
    write_netcdf(old, tmp_path / "old.nc", checked=True)
    with open_metrics(tmp_path / "old.nc") as metrics:
        assert metrics["r2_region_ptend_t"].dims == ("band", "layer")


class Emulator(LinearModel):
    """Returns NaN for the lowest two temperature levels and the rain of warm columns."""

    parameters = 8
    metadata: ClassVar = {}
    card = ModelCard()

    def __call__(self, inputs):
        outputs = super().__call__(inputs)
        warm = inputs[:, self.n_levels - 1] > 0
        outputs[warm, self.n_levels - 2 : self.n_levels] = np.nan
        outputs[warm, OUTPUTS.slice("cam_out_PRECC", self.n_levels)] = np.inf
        return outputs


def test_model_that_returns_no_numbers_ends_in_an_error_that_says_where(store, config, monkeypatch):
    monkeypatch.setattr(
        "climsim.export.loading.load_emulator", lambda path: Emulator(store.n_levels)
    )
    steps = store.steps("test")
    warm = int((store.array("state_t")[:][steps][..., -1] > 0).sum())
    total = steps.size * store.n_columns
    assert 0 < warm < total
    expected = (
        f"the model returned no finite number for ptend_t (levels 4 to 5) in {warm}, "
        f"cam_out_PRECC in {warm} of {total} columns"
    )
    for _ in range(2):  # Made, and found as it is.
        with pytest.raises(ClimSimError) as error:
            evaluate_offline(config)
        assert f"{config.out}: {expected}: its scores are NaN" in str(error.value)
    assert evaluate_offline(replace(config, allow_nan=True)) == config.out
    with xarray.open_dataset(config.out) as saved:
        assert json.loads(saved.attrs["problems"]) == [expected]
        assert np.isnan(saved["r2_ptend_t"]).values.tolist() == [False] * 4 + [True] * 2


def predicted(store, values):
    """Predictions (time, column, feature) of the test split, as `stream` reads them."""
    card = ModelCard(interface=V2, n_levels=store.n_levels)
    return StoredPredictions(Path("p.npy"), card, {}, 1.0, store.steps("test"), (values,))


def test_scores_that_contain_a_nan_are_nan_and_all_others_those_without_it(store, config, direct):
    values = direct[1].reshape(-1, store.n_columns, direct[1].shape[1])
    whole = offline_dataset(stream([predicted(store, values)], store, config), store.grid)
    level, column, step = 3, 4, 2
    damaged = values.copy()
    damaged[step, column, OUTPUTS.slice("ptend_u", store.n_levels).start + level] = np.nan
    found = offline_dataset(stream([predicted(store, damaged)], store, config), store.grid)
    at = {"latitude": int((store.grid.lat[column] + 90) // 10), "level": level}
    others = np.delete(np.arange(18), at["latitude"])
    for name in ("r2_section", "bias_section", "r2_section_columns"):
        ours, theirs = found[f"{name}_ptend_u"], whole[f"{name}_ptend_u"]
        assert np.isfinite(theirs[at])
        assert np.isnan(ours[at])
        xarray.testing.assert_equal(ours[others], theirs[others])
    for name in ("r2", "r2_climsim", "bias", "rmse", "mae_energy", "truth_mean"):
        ours = np.isnan(found[f"{name}_ptend_u"]).values.tolist()
        assert ours == [k == level and name != "truth_mean" for k in range(store.n_levels)]
    for name in ("r2_mean", "r2_mean_ptend_u"):
        assert np.isnan(found[name])
    assert np.isnan(found["r2_region_ptend_u"]).sum() == 1
    for name in ("bias_by_precipitation_ptend_u", "bias_by_predicted_precipitation_ptend_u"):
        more = np.isnan(found[name]).values & ~np.isnan(whole[name]).values
        assert more.sum() == 1
        assert more[:, level].any()
    for name, array in whole.items():
        if not name.endswith("ptend_u") and name != "r2_mean":
            xarray.testing.assert_equal(found[name], array)


def test_sample_without_predicted_rain_has_no_bias_by_predicted_rain(
    store, config, direct, metrics
):
    values = direct[1].reshape(-1, store.n_columns, direct[1].shape[1]).copy()
    values[2, 4, OUTPUTS.slice("cam_out_PRECC", store.n_levels)] = np.nan
    found = offline_dataset(stream([predicted(store, values)], store, config), store.grid)
    heaviest = {"rain_decile": -1}
    assert np.isfinite(metrics["bias_by_predicted_precipitation_ptend_t"][heaviest]).all()
    assert np.isnan(found["bias_by_predicted_precipitation_ptend_t"][heaviest]).all()
    by_truth = "bias_by_precipitation_ptend_t"
    np.testing.assert_allclose(found[by_truth], metrics[by_truth], rtol=1e-6)


def test_store_without_numbers_is_distinguished_from_a_model_without():
    whole = np.zeros((1, 3, OUTPUTS.size(6)))
    outputs, truth, inputs = whole.copy(), whole.copy(), np.zeros((1, 3, 9))
    clean = NonFinite.of([outputs], truth, inputs)
    assert clean.problems(6) == []
    inputs[0, 1] = outputs[0, 1] = np.nan
    outputs[0, 2, 0] = truth[0, 0, -1] = np.inf
    model, data = (clean + NonFinite.of([whole, outputs], truth, inputs)).problems(6)
    assert "ptend_t in 2, " in model
    assert model.endswith("of 6 columns; 1 of these columns had inputs that are no numbers")
    assert data == "the store holds no finite number for cam_out_SOLLD in 1 of 6 columns"
