"""What is chosen and ranked of saved metrics, worked by hand on a few numbers."""

import json

import numpy as np
import pytest
import xarray

from climsim.errors import ClimSimError
from climsim.evaluation.members import Member
from climsim.netcdf import write_netcdf
from climsim.report.summary import study_summary
from climsim.results.filters import Filters, recipes_compared
from climsim.results.measures import Measure, mean_skill
from climsim.results.published import beats_state_of_the_art
from climsim.results.seeds import failed, median_seed, over_seeds
from climsim.results.selection import extremes, network_means
from climsim.results.study import Study, join_offline
from tests.evaluation_synthetic import offline_metrics
from tests.grids import make_globe


def along(axis, networks, recipes, seeds, **values):
    """Metrics along an axis, with what names the members."""
    data = {name: (axis, found) for name, found in values.items()}
    names = {"network": (axis, networks), "recipe": (axis, recipes), "seed": (axis, seeds)}
    labels = [f"{n}-{r}-{s}" for n, r, s in zip(networks, recipes, seeds, strict=True)]
    return xarray.Dataset(data, {axis: labels, **names})


@pytest.fixture
def study():
    """Three runs of two networks over 26 months, one unstable, and the reference."""
    online = along(
        "run",
        ["unet", "unet", "convnext", "MMF1"],
        ["standard", "v6", "standard", ""],
        [7, 7, 43, -1],
        role=["member", "member", "member", "reference"],
        status=["complete", "unstable", "complete", "complete"],
        days=[790.0, 40.0, 790.0, 790.0],
        days_wanted=[790.0] * 4,
        sypd=[1.0] * 4,
    )
    online["growth_monthly_T"] = (("run", "month"), np.ones((4, 26)))
    online = online.assign_coords(role=online["role"]).assign(
        alive_fraction=(("group", "elapsed"), np.ones((3, 2))),
        group_network=("group", ["unet", "unet", "convnext"]),
        group_recipe=("group", ["standard", "v6", "standard"]),
    )
    online = online.assign_coords(elapsed=[0.0, 400.0])
    online.attrs |= {"mean_window": 730.0, "mean_stream": "h0"}
    offline = along("member", ["unet", "convnext"], ["standard", "standard"], [7, 43], r2=[1.0, 2])
    return Study(offline, online)


def test_state_of_the_art_is_beaten_to_two_digits():
    members = along(
        "run", ["unet"] * 3, ["v6"] * 3, [1, 2, 3], rmse_mean_Q=[2.449e-4, 2.451e-4, 2.4e-4]
    )
    assert beats_state_of_the_art(members, "Q").tolist() == [True, False, True]
    # 0.2449 rounds to 0.24, 0.2451 to 0.25, which is no less than the 0.25 of the state of the art.
    assert Measure("rmse_mean", "Q").shown(members).values[2] == pytest.approx(0.24)


def test_median_seed_is_nearest_to_the_median_or_to_the_median_distance_from_the_floor():
    values = np.array([[1.0, 1.0], [2.0, 2.0], [9.0, np.nan], [np.nan, np.nan]])
    assert median_seed(values) == 1
    # Mean distances from the floor are 0.5, 0.5 and 8: the median is 0.5, the first has it.
    assert median_seed(values, np.array([1.0, 2.0])) == 0
    assert median_seed(values[3:]) is None


@pytest.mark.parametrize("rounding", [-1e-8, 0.0, 1e-8])
def test_median_seed_of_two_is_the_first_however_a_processor_rounds(rounding):
    values = np.array([[1.0, 2.0], [3.0, 5.0 + rounding]])
    assert median_seed(values) == median_seed(values, np.array([0.5, 0.5 + rounding])) == 0


def test_median_seed_is_that_of_the_seeds_where_the_floor_has_no_value_beside_them():
    values = np.array([[1.0, 1.0], [2.0, 2.0], [9.0, np.nan]])
    assert median_seed(values, np.full(2, np.nan)) == median_seed(values) == 1
    apart = np.array([[np.nan, 1.0], [np.nan, 2.0], [np.nan, 9.0]])
    assert median_seed(apart, np.array([1.0, np.nan])) == 1
    # Where it has one of two, the distance is that in this one.
    assert median_seed(values, np.array([1.5, np.nan])) == 0


def foreign(path, attributes, **sizes):
    """A netCDF file of somebody else."""
    data = {f"of_{axis}": (axis, np.zeros(size)) for axis, size in sizes.items()}
    xarray.Dataset(data, attrs=attributes).to_netcdf(path)
    return path


def test_file_of_something_else_is_refused_by_what_it_lacks(tmp_path):
    path, remedy = tmp_path / "theirs.nc", "give files of `climsim evaluate offline` as offline"
    names = {
        "member": "r1i1p1f1",
        "network": "a",
        "recipe": "b",
        "seed": 1,
        "split": "test",
        "samples": 1,
        "steps": 1,
    }
    for attributes, lacking in (
        ({"member": "r1i1p1f1"}, "attribute 'network'"),
        (names, "axis 'level'"),
    ):
        with pytest.raises(
            ClimSimError, match=f"theirs.nc: expected metrics with the {lacking}, .*{remedy}"
        ):
            Study.open([foreign(path, attributes, time=3)], None)
    known = {"mean_stream": "h0", "records": "{}", "problems": "{}"}
    for attributes, sizes, lacking in (
        ({"mean_stream": "h0"}, {"run": 2}, "attribute 'records'"),
        (known, {"time": 3}, "axis 'run'"),
        (known, {"run": 2}, "variable 'run'"),
    ):
        with pytest.raises(
            ClimSimError, match=f"theirs.nc: expected metrics with the {lacking}, .*{remedy}"
        ):
            Study.open((), foreign(path, attributes, **sizes))
    with pytest.raises(
        ClimSimError, match=f"theirs.nc: expected metrics with the axis 'day', .*{remedy}"
    ):
        Study.open((), None, foreign(path, {"hindcast_days": 3}, run=2))


@pytest.fixture
def with_ensemble(tmp_path):
    """Two seeds of one network, another with one seed and the mean of two, and a lone ensemble."""
    about = {"split": "test", "samples": 1, "steps": 1, "git_revision": "x"}
    files = []
    for network, seed, models, bias in (
        ("unet", 7, 1, 1.0),
        ("unet", 43, 1, 3.0),
        ("convnext", 7, 1, 5.0),
        ("convnext", -1, 2, 4.0),
        ("pao_model", -1, 3, 6.0),
    ):
        member = Member(network, "v6", seed)
        names = {"member": member.label, "network": network, "recipe": "v6", "seed": seed}
        data = xarray.Dataset({"bias": ("level", [bias])}, attrs=about | names | {"models": models})
        files.append(tmp_path / f"{member.label}.nc")
        data.to_netcdf(files[-1])
    return Study.open(files, None)


def test_ensembles_of_members_that_are_there_stand_apart_from_the_seeds(with_ensemble):
    study = with_ensemble
    assert study.offline["member"].values.tolist()[2:] == ["convnext-v6-7", "pao_model-v6"]
    assert study.ensembles["member"].values.tolist() == ["convnext-v6"]
    assert over_seeds(study.offline["bias"], ("convnext", "v6")).count == 1
    one_seed = Filters(seeds=(7,)).of(study)
    assert one_seed.ensembles.sizes["member"] == 0
    assert recipes_compared(study).ensembles["recipe"].values.tolist() == ["convnext"]


def test_seed_averaged_score_is_that_of_the_ensemble_where_one_was_scored(with_ensemble):
    means = network_means(with_ensemble, "bias", "v6")
    assert {name: float(value[0]) for name, value in means.items()} == {
        "unet": 2.0, "convnext": 4.0, "pao_model": 6.0,
    }  # fmt: skip


def test_seed_that_failed_makes_the_mean_over_seeds_undefined():
    """In the second bin one seed of ``a`` failed, and one of ``b`` has no sample."""
    bias = [[1.0, 2.0], [3.0, np.nan], [1.0, 2.0], [3.0, np.nan]]
    offline = along("member", ["a", "a", "b", "b"], ["v6"] * 4, [1, 2, 1, 2])
    offline["bias"] = (("member", "bin"), bias)
    offline["rmse_ptend_t"] = (("member", "level"), [[1.0], [np.nan], [1.0], [1.0]])
    assert failed(offline).tolist() == [False, True, False, False]
    means = network_means(Study(offline, None), "bias", "v6")
    np.testing.assert_array_equal(means["a"], [2.0, np.nan])
    np.testing.assert_array_equal(means["b"], [2.0, 2.0])
    found = over_seeds(offline["bias"], ("a", "v6"))
    for values in (found.mean, found.median, found.low, found.high):
        assert np.isfinite(values).values.tolist() == [True, False]


def test_mean_skill_leaves_out_levels_without_variance_and_no_others():
    def mean(scores, errors):
        return mean_skill(xarray.DataArray(scores), xarray.DataArray(errors))

    assert mean([0.5, np.nan, -9.0], [1.0, 0.0, 1.0]) == 0.25
    assert np.isnan(mean([0.5, np.nan, -9.0], [1.0, np.nan, 1.0]))
    assert np.isnan(mean([0.5, -np.inf], [1.0, np.inf]))
    assert mean(0.5, 1.0) == 0.5
    assert np.isnan(mean(np.nan, 1.0))


def scored(path, **changes):
    """The metrics of a member, with attributes that say on what it was scored."""
    metrics = offline_metrics(path.stem)
    made = {
        "input_hashes": {"store": "a" * 64, "model.pt": path.stem},
        "configuration": {"stride": 2},
    }
    about = {key: json.dumps(value | changes.pop(key, {})) for key, value in made.items()}
    metrics.attrs |= about | changes
    write_netcdf(metrics, path, checked=True)
    return path


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"split": "validation"}, "one split, found test of .* and validation of"),
        (
            {"input_hashes": {"store": "b" * 64}},
            "one store, found aaaaaaaaaaaa of .* and bbbbbbbbbbbb of",
        ),
        ({"configuration": {"stride": 3}}, "one stride, found 2 of .* and 3 of"),
    ],
)
def test_metrics_of_other_data_are_refused_in_one_line(tmp_path, changes, found):
    files = [scored(tmp_path / "unet.nc"), scored(tmp_path / "convnext.nc")]
    Study.open(files, None)
    scored(files[1], **changes)
    with pytest.raises(ClimSimError, match=found) as refused:
        Study.open(files, None)
    assert "\n" not in str(refused.value)
    assert "convnext-standard-7" in str(refused.value)


def test_metrics_whose_record_of_their_making_is_none_are_refused():
    metrics = offline_metrics("convnext")
    metrics.attrs["input_hashes"] = "[]"
    with pytest.raises(ClimSimError, match="convnext-standard-7: input_hashes: expected a mapping"):
        join_offline([metrics])


def test_metrics_that_do_not_say_their_stride_are_of_as_many_samples():
    files = [offline_metrics("unet"), offline_metrics("convnext", steps=8)]
    with pytest.raises(ClimSimError, match=r"samples, found 768 of unet.* and 1,536 of convnext"):
        join_offline(files)


def test_model_that_looks_back_is_joined_though_it_was_scored_on_fewer_steps(tmp_path):
    few = offline_metrics("convnext", steps=3).attrs
    fewer = {key: few[key] for key in ("samples", "steps")}
    files = [scored(tmp_path / "unet.nc"), scored(tmp_path / "convnext.nc", **fewer)]
    study = Study.open(files, None)
    assert study.offline["steps"].values.tolist() == [4, 3]
    assert "2 models scored on 576 to 768 samples of the test split." in study_summary(study)[0]


def test_bins_of_latitude_without_columns_are_left_out_and_those_of_a_failed_model_kept(tmp_path):
    pole = np.flatnonzero(make_globe().lat > 80)
    for name, lost in (("unet", None), ("convnext", (pole,))):
        write_netcdf(offline_metrics(name, lost=lost), tmp_path / f"{name}.nc", checked=True)
    files = [tmp_path / f"{name}.nc" for name in ("unet", "convnext")]
    offline = Study.open(files, None).offline
    with xarray.open_dataset(files[0]) as whole:
        columns = whole["truth_section_ptend_t"].notnull().any("level").values
        assert not columns.all()
        np.testing.assert_array_equal(offline["latitude"], whole["latitude"][columns])
    known = offline["bias_section_ptend_t"].notnull().any("level").values
    assert known[0].all()
    assert known[1].tolist() == [True] * (columns.sum() - 1) + [False]


def test_extremes_keep_the_sign_of_each_cell_and_leave_undefined_ones():
    first = xarray.DataArray([-1.0, 3.0, np.nan, np.nan], dims="level")
    second = xarray.DataArray([2.0, -4.0, -5.0, np.nan], dims="level")
    least, most = extremes({"unet": first, "convnext": second})
    np.testing.assert_array_equal(least, [-1.0, 3.0, -5.0, np.nan])
    np.testing.assert_array_equal(most, [2.0, -4.0, -5.0, np.nan])


def test_filters_choose_members_keep_full_physics_and_count_survival_anew(study):
    found = Filters(recipes=("v6",)).of(study)
    assert found.online["run"].values.tolist() == ["unet-v6-7", "MMF1---1"]
    assert found.offline.sizes["member"] == 0
    assert found.online["group_recipe"].values.tolist() == ["v6"]
    assert found.online["alive_fraction"].values.tolist() == [[1.0, 0.0]]


def test_years_end_the_months_and_ask_for_means_over_as_many(study):
    assert Filters(years=2).of(study).online.sizes["month"] == 24
    with pytest.raises(ClimSimError, match="time means of 1460 days, found 730: run `climsim eva"):
        Filters(years=4).of(study)


def test_name_that_occurs_nowhere_is_refused_with_those_that_do(study):
    with pytest.raises(ClimSimError, match="networks: expected one of convnext, unet, found 'une'"):
        Filters(networks=("une",)).of(study)
    with pytest.raises(ClimSimError, match="seeds: expected one of 7, 43, found 8"):
        Filters(seeds=(8,)).of(study)


def test_comparing_recipes_exchanges_their_place_with_networks(study):
    found = recipes_compared(study)
    assert found.online["network"].values.tolist() == ["standard", "v6", "standard", "MMF1"]
    assert found.online["recipe"].values.tolist() == ["unet", "unet", "convnext", ""]
    assert found.online["group_network"].values.tolist() == ["standard", "v6", "standard"]
    assert found.offline["recipe"].values.tolist() == ["unet", "convnext"]


@pytest.mark.parametrize(
    ("measure", "label"),
    [
        (Measure("r2", "ptend_t"), "R$^2$"),
        (Measure("rmse_mean", "T"), "RMSE (K)"),
        (Measure("rmse_mean", "PRECT"), "RMSE (mm day$^{-1}$)"),
        (Measure("growth_daily", "Q"), "RMSE (g kg$^{-1}$)"),
        (Measure("own_score", "T"), "own_score (K)"),
    ],
)
def test_axis_is_called_as_its_score_calls_itself(measure, label):
    assert measure.label == label


def test_only_values_with_a_unit_are_changed_to_the_display_unit():
    data = xarray.Dataset({"r2_ptend_t": 0.5, "rmse_mean_Q": 2e-3})
    assert Measure("r2", "ptend_t").shown(data) == 0.5
    assert Measure("rmse_mean", "Q").shown(data) == 2.0
