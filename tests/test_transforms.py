"""Transforms against values worked by hand, an independent route and their own promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from climsim.errors import ClimSimError
from climsim.interfaces import ENCODINGS, V2, V6, encoding
from climsim.networks import build_network
from climsim.physics.thermodynamics import liquid_fraction as numpy_liquid_fraction
from climsim.pruning import PruningConfig
from climsim.training.checkpoint import load_weights
from climsim.transforms import (
    InterfaceTransform,
    MicrophysicsConstraint,
    TargetTransform,
    from_published,
    from_statistics,
    liquid_fraction,
)
from climsim.transforms.build import empty_transforms, transforms_card
from climsim.variables import EXPANDED, OUTPUTS, STANDARD, TARGETS
from tests.physical_samples import samples, statistics_of, vector

LEVELS = 18
KINDS = ("standard", "multirep", "expanded")


@pytest.fixture(scope="module")
def values():
    return samples(LEVELS)


@pytest.fixture(scope="module")
def statistics(values):
    return statistics_of(values)


def parts(z, variables):
    return {n: z[:, s].numpy().squeeze() for n, s in variables.slices(LEVELS).items()}


@pytest.mark.parametrize("kind", ["standard", "expanded"])
def test_each_input_follows_its_rule(kind, values, statistics):
    variables = encoding(kind).variables
    z = parts(
        from_statistics(statistics, kind, LEVELS).inputs(vector(values, variables)), variables
    )
    for name in ("state_t", "state_u", "pbuf_ozone", "state_ps", "pbuf_COSZRS", "cam_in_SNOWHLAND"):
        v = values[name]
        expected = (v - v.mean(0)) / (v.max(0) - v.min(0))
        np.testing.assert_allclose(z[name], expected, atol=2e-5, err_msg=name)
    for name in ("pbuf_SOLIN", "pbuf_LHFLX", "pbuf_SHFLX"):
        v = values[name]
        np.testing.assert_allclose(z[name], v / (v.max(0) - v.min(0)), rtol=2e-5, err_msg=name)
    for name in ("liq_partition", "cam_in_ICEFRAC", "cam_in_LANDFRAC", "cam_in_OCNFRAC"):
        np.testing.assert_allclose(z[name], values[name], rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(z["state_rh"], np.clip(values["state_rh"], 0, 1.2), rtol=1e-6)


def test_memory_of_previous_steps_is_scaled_without_centring(values, statistics):
    z = parts(
        from_statistics(statistics, "expanded", LEVELS).inputs(vector(values, EXPANDED)), EXPANDED
    )
    v = values["tm_state_q0_dyn"]
    np.testing.assert_allclose(z["tm_state_q0_dyn"], v / (v.max(0) - v.min(0)), rtol=2e-5)
    v = values["state_qn_prvphy"]
    np.testing.assert_allclose(z["state_qn_prvphy"], v / v.std(0), rtol=2e-5)
    np.testing.assert_allclose(z["clat"], values["clat"], rtol=1e-6)


def test_condensate_is_squashed_by_its_mean_and_zero_at_the_top(values, statistics):
    values = {**values, "state_qn": values["state_qn"].copy()}
    values["state_qn"][:, 16] = 1e-9
    transform = from_statistics(statistics_of(values), "standard", LEVELS).inputs
    z = parts(transform(vector(values, STANDARD)), STANDARD)["state_qn"]
    qn = values["state_qn"]
    assert (z[:, :15] == 0).all()
    assert (qn[:, :15] > 0).any()
    # No value above 1e-7 on level 16: the exponent is 1e7.
    np.testing.assert_allclose(z[:, 16], 1 - np.exp(-1e7 * 1e-9), rtol=1e-4)
    mean = qn[:, 17][qn[:, 17] > 1e-7].mean()
    np.testing.assert_allclose(z[:, 17], 1 - np.exp(-qn[:, 17] / mean), atol=1e-6)


def test_multirep_of_hand_worked_column():
    # Temperatures 1, 2, 6 on every level but level 1, where they are 10 times that.
    base = samples(LEVELS, 3)
    base["state_t"] = np.repeat([[1.0], [2.0], [6.0]], LEVELS, axis=1)
    base["state_t"][:, 1] *= 10
    transform = from_statistics(statistics_of(base), "multirep", LEVELS).inputs
    z = transform(vector(base, STANDARD))
    assert z.shape == (3, 25 * LEVELS + 17)
    std = np.sqrt((2.0**2 + 1.0**2 + 3.0**2) / 3)
    per_level = np.array([-2.0, -1.0, 3.0]) / std
    first = z[:, :LEVELS].numpy()
    np.testing.assert_allclose(first, np.repeat(per_level[:, None], LEVELS, 1), rtol=1e-5)
    # The middle encoding knows one mean and one spread for all levels.
    t = base["state_t"]
    second = z[:, 9 * LEVELS : 10 * LEVELS].numpy()
    np.testing.assert_allclose(second, (t - t.mean()) / t.std(), rtol=1e-5, atol=1e-6)
    # The third: distance d from the least encoding, as log(1 + d): d = 0, 1/std, 5/std.
    third = z[:, 17 * LEVELS : 18 * LEVELS].numpy()
    expected = np.log1p(np.array([0.0, 1.0, 5.0]) / std)
    np.testing.assert_allclose(third, np.repeat(expected[:, None], LEVELS, 1), atol=1e-6)


def test_multirep_below_the_training_minimum_is_antisymmetric(values, statistics):
    transform = from_statistics(statistics, "multirep", LEVELS).inputs
    x = vector(values, STANDARD)[:2].clone()
    place = STANDARD.slice("state_u", LEVELS).start + 3
    s = statistics["state_u"]
    for row, sign in enumerate((1, -1)):
        x[row, place] = s.min[3] + sign * 2.0 * s.std[3]
    start = (17 + ENCODINGS["multirep"].repeated.index("state_u")) * LEVELS + 3
    found = transform(x)[:, start].numpy()
    np.testing.assert_allclose(found, [np.log(3.0), -np.log(3.0)], rtol=1e-4)


def test_multirep_leaves_liquid_fraction_and_scalar_order_alone(values, statistics):
    z = from_statistics(statistics, "multirep", LEVELS).inputs(vector(values, STANDARD)).numpy()
    np.testing.assert_allclose(z[:, 3 * LEVELS : 4 * LEVELS], values["liq_partition"], rtol=1e-6)
    for index, name in enumerate(STANDARD.scalars):
        v = values[name]
        expected = (v - v.mean()) / v.std()
        np.testing.assert_allclose(z[:, 25 * LEVELS + index], expected, atol=3e-5, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_feature_without_variance_stays_zero_whatever_comes(kind, values):
    values = {**values, "pbuf_SHFLX": np.zeros(50), "pbuf_CH4": np.full((50, LEVELS), 9.1e-7)}
    transform = from_statistics(statistics_of(values), kind, LEVELS).inputs
    x = vector(values, encoding(kind).variables)
    places = encoding(kind).variables.slices(LEVELS)
    shocked = x.clone()
    shocked[:, places["pbuf_SHFLX"]] = 150.0
    shocked[:, places["pbuf_CH4"]] = 1.8e-6
    calm, shaken = transform(x), transform(shocked)
    assert shaken[:, places["pbuf_CH4"]].abs().max() == 0
    if kind == "multirep":
        scalar = STANDARD.scalars.index("pbuf_SHFLX") - len(STANDARD.scalars)
        assert shaken[:, scalar].abs().max() == 0
        for start in (9 + 6, 17 + 6):
            assert shaken[:, start * LEVELS : (start + 1) * LEVELS].abs().max() == 0
    else:
        assert torch.equal(calm, shaken)


@pytest.mark.parametrize("kind", KINDS)
def test_output_is_finite_for_any_finite_or_missing_input(kind, statistics):
    transform = from_statistics(statistics, kind, LEVELS).inputs
    x = torch.randn(6, transform.n_inputs, generator=torch.Generator().manual_seed(1))
    for row, value in enumerate((1e30, -1e30, float("nan"), float("inf"), 3e38)):
        x[row] = value
    assert torch.isfinite(transform(x)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_margin_moves_outliers_to_the_widened_range(kind, values, statistics):
    free = from_statistics(statistics, kind, LEVELS).inputs
    bound = from_statistics(statistics, kind, LEVELS, clip_margin=0.5).inputs
    x = vector(values, encoding(kind).variables)
    assert torch.allclose(free(x), bound(x), atol=1e-6)
    place = encoding(kind).variables.slice("state_u", LEVELS).start + 4
    s = statistics["state_u"]
    far, edge = x.clone(), x.clone()
    far[:, place] = 1e6
    edge[:, place] = float(s.max[4] + 0.5 * (s.max[4] - s.min[4]))
    torch.testing.assert_close(bound(far), bound(edge))
    assert not torch.allclose(free(far), bound(far))


def test_snow_fill_values_count_as_no_snow(values, statistics):
    transform = from_statistics(statistics, "standard", LEVELS).inputs
    place = STANDARD.slice("cam_in_SNOWHICE", LEVELS)
    filled, bare = vector(values, STANDARD), vector(values, STANDARD)
    filled[:, place], bare[:, place] = 1e30, 0.0
    assert torch.equal(transform(filled), transform(bare))


def test_targets_are_scaled_by_floored_spread_and_pruned_at_the_top(values):
    values = {**values, "ptend_qn": values["ptend_qn"] * 1e-15}
    targets = from_statistics(statistics_of(values), "standard", LEVELS).targets
    y = vector(values, TARGETS)
    z = parts(targets.encode(y), TARGETS)
    t, rain = values["ptend_t"], values["cam_out_PRECC"]
    np.testing.assert_allclose(z["ptend_t"], t / t.std(0), rtol=1e-5)
    np.testing.assert_allclose(z["cam_out_PRECC"], rain / rain.std(), rtol=1e-5)
    np.testing.assert_allclose(z["ptend_qn"][:, 12:], values["ptend_qn"][:, 12:] / 3e-10, rtol=1e-5)
    for name in ("ptend_q0001", "ptend_qn", "ptend_u", "ptend_v"):
        assert (z[name][:, :12] == 0).all()
        assert (z[name][:, 12:] != 0).all()
    torch.testing.assert_close(targets.decode(targets.encode(y)), y * targets.kept)


def test_targets_of_a_constant_keep_a_finite_scale(values):
    values = {n: np.zeros_like(v) if n in TARGETS.names else v for n, v in values.items()}
    targets = from_statistics(statistics_of(values), "standard", LEVELS).targets
    assert torch.isfinite(targets.scale).all()
    assert torch.isfinite(targets.decode(torch.ones(1, targets.n_features))).all()


@pytest.mark.parametrize("kind", KINDS)
def test_interface_gives_the_vector_of_the_set(kind, values):
    chosen = ENCODINGS[kind]
    variables = chosen.variables
    transform = InterfaceTransform(chosen, LEVELS)
    found = transform(vector(values, chosen.interface.variables))
    torch.testing.assert_close(found, vector(values, variables))


def test_liquid_fraction_is_that_of_the_features():
    t = np.linspace(240, 290, 101)
    found = liquid_fraction(torch.as_tensor(t)).numpy()
    np.testing.assert_allclose(found, numpy_liquid_fraction(t), atol=1e-12)


def test_microphysics_splits_condensate_by_the_new_temperature():
    interface = V2.variables
    x = torch.zeros(1, interface.size(LEVELS))
    y = torch.zeros(1, TARGETS.size(LEVELS))

    def set_level(tensor, variables, name, value, level=16):
        tensor[0, variables.slice(name, LEVELS).start + level] = value

    # 258.16 K warms by 5 K to 263.16 K, where half is liquid; condensate grows from 3 to 9 g/kg.
    set_level(x, interface, "state_t", 258.16)
    set_level(x, interface, "state_q0002", 1e-3)
    set_level(x, interface, "state_q0003", 2e-3)
    set_level(y, TARGETS, "ptend_t", 5.0 / 1200)
    set_level(y, TARGETS, "ptend_qn", 6e-3 / 1200)
    set_level(y, TARGETS, "ptend_u", 0.01)
    set_level(y, TARGETS, "cam_out_PRECC", 1e-8, level=0)
    out = parts(MicrophysicsConstraint(V2, LEVELS)(x, y), OUTPUTS)
    np.testing.assert_allclose(out["ptend_q0002"][16], (4.5e-3 - 1e-3) / 1200, rtol=1e-4)
    np.testing.assert_allclose(out["ptend_q0003"][16], (4.5e-3 - 2e-3) / 1200, rtol=1e-4)
    np.testing.assert_allclose(out["ptend_t"][16], 5.0 / 1200, rtol=1e-6)
    np.testing.assert_allclose(out["ptend_u"][16], 0.01, rtol=1e-6)
    np.testing.assert_allclose(out["cam_out_PRECC"], 1e-8, rtol=1e-6)


def test_microphysics_conserves_condensate_and_zeroes_the_top():
    interface = V6.variables
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(4, interface.size(LEVELS), generator=generator) * 1e-3
    x[:, interface.slice("state_t", LEVELS)] = 230 + 60 * torch.rand(4, LEVELS, generator=generator)
    y = torch.randn(4, TARGETS.size(LEVELS), generator=generator) * 1e-6
    out = parts(MicrophysicsConstraint(V6, LEVELS)(x, y), OUTPUTS)
    total = parts(y, TARGETS)["ptend_qn"]
    water = out["ptend_q0002"] + out["ptend_q0003"]
    np.testing.assert_allclose(water[:, 15:], total[:, 15:], atol=2e-12)
    np.testing.assert_allclose(water[:, :15], 0, atol=2e-12)
    for name in ("ptend_q0001", "ptend_u", "ptend_v"):
        assert (out[name][:, :15] == 0).all()
        assert (out[name][:, 15:] != 0).all()
    assert (out["ptend_t"] != 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_scripted_transforms_equal_eager_ones_for_strided_input(kind, values, statistics):
    transforms = from_statistics(statistics, kind, LEVELS, clip_margin=0.1)
    interface = ENCODINGS[kind].interface.variables
    modules = (
        (InterfaceTransform(ENCODINGS[kind], LEVELS), interface.size(LEVELS)),
        (transforms.inputs, transforms.inputs.n_inputs),
        (transforms.targets, transforms.targets.n_features),
    )
    for module, size in modules:
        x = torch.rand(size, 7, generator=torch.Generator().manual_seed(3)).T
        assert not x.is_contiguous()
        assert torch.equal(torch.jit.script(module)(x), module(x.contiguous()))


@pytest.mark.parametrize("kind", KINDS)
def test_description_and_buffers_rebuild_the_transforms(kind, values, statistics):
    transforms = from_statistics(statistics, kind, LEVELS, clip_margin=0.1)
    again = empty_transforms(transforms_card(transforms))
    again.inputs.load_state_dict(transforms.inputs.state_dict())
    again.targets.load_state_dict(transforms.targets.state_dict())
    x = vector(values, encoding(kind).variables)
    assert torch.equal(again.inputs(x), transforms.inputs(x))


def test_statistics_of_other_levels_are_refused(statistics):
    with pytest.raises(ClimSimError, match=r"state_t: expected shape \(19,\), found \(18,\)"):
        from_statistics(statistics, "standard", 19)


def test_missing_statistics_name_the_variable(statistics):
    less = {n: s for n, s in statistics.items() if n != "pbuf_TAUX"}
    with pytest.raises(ClimSimError, match="pbuf_TAUX"):
        from_statistics(less, "standard", LEVELS)


def test_unknown_inputs_list_the_known(statistics):
    with pytest.raises(ClimSimError, match="expected one of expanded, multirep, standard"):
        from_statistics(statistics, "extended", LEVELS)


@pytest.mark.parametrize("kind", KINDS)
def test_published_statistics_give_plausible_inputs(kind, shared):
    transforms = from_published(shared / "reference_data/normalization", kind)
    x = torch.zeros(1, transforms.inputs.n_inputs)
    places = encoding(kind).variables.slices()
    x[0, places["state_t"]] = 250.0
    x[0, places["state_ps"]] = 98600.0
    x[0, places["cam_in_SNOWHICE"]] = 1e30
    z = transforms.inputs(x)
    assert torch.isfinite(z).all()
    assert z[0, :60].abs().max() < 15
    snow = transforms.inputs.n_outputs - (3 if kind == "expanded" else 1) - 1
    # The published statistics hold the fill value, so it stays in the range of the others.
    expected = {"multirep": 0.357}.get(kind, 0.1134)
    np.testing.assert_allclose(z[0, snow].item(), expected, atol=2e-3)


def test_published_text_form_equals_the_netcdf_form(shared, tmp_path):
    folder = shared / "reference_data/normalization"
    whole = from_published(folder, "standard")
    for name, values in (
        ("inp_sub.txt", whole.inputs.sub),
        ("inp_div.txt", whole.inputs.div),
        ("out_scale.txt", whole.targets.scale),
    ):
        (tmp_path / name).write_text(",".join(f"{v:.9e}" for v in values.tolist()))
    (tmp_path / "qn_exp_lambda_large.txt").write_text(
        (folder / "qn_exp_lambda_large.txt").read_text()
    )
    again = from_published(tmp_path, "standard")
    x = torch.rand(3, whole.inputs.n_inputs, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(again.inputs(x), whole.inputs(x))
    torch.testing.assert_close(again.targets.scale, whole.targets.scale)


def test_published_file_of_wrong_size_is_named(shared, tmp_path):
    (tmp_path / "inp_sub.txt").write_text("1,2,3")
    with pytest.raises(ClimSimError, match=r"inp_sub\.txt: expected 557 values, found 3"):
        from_published(tmp_path, "standard")


def test_missing_published_file_is_named(tmp_path):
    with pytest.raises(ClimSimError, match=r"input_mean_v6_pervar\.nc: no such file"):
        from_published(tmp_path, "expanded")


def test_pruning_covers_every_level_of_a_shallow_model():
    targets = TargetTransform(5, np.ones(TARGETS.size(5)))
    kept = parts_of(targets.kept, 5)
    assert kept["ptend_t"].all()
    assert not kept["ptend_u"].any()
    assert kept["cam_out_NETSW"].all()


def parts_of(row, levels):
    return {n: row[s].numpy() for n, s in TARGETS.slices(levels).items()}


def test_one_statistics_object_serves_replaced_fields(statistics):
    # A spread of rounding size is no variance: methane uniform up to float32 noise.
    s = statistics["pbuf_CH4"]
    noisy = replace(s, min=np.full(LEVELS, 9e-7), max=np.full(LEVELS, 9e-7 * (1 + 1e-7)))
    transform = from_statistics({**statistics, "pbuf_CH4": noisy}, "standard", LEVELS).inputs
    assert torch.isinf(transform.div[STANDARD.slice("pbuf_CH4", LEVELS)]).all()


def test_condensate_is_split_over_the_time_step_of_the_data():
    """After 900 s the air has warmed from 260 K to 269 K, where 79 % of condensate is liquid."""
    interface = V2.variables
    x = torch.zeros(1, interface.size(LEVELS))
    for name, value in (("state_t", 260.0), ("state_q0002", 1e-5), ("state_q0003", 1e-5)):
        x[:, interface.slice(name, LEVELS)] = value
    y = torch.zeros(1, TARGETS.size(LEVELS))
    y[:, TARGETS.slice("ptend_t", LEVELS)] = 0.01
    out = MicrophysicsConstraint(V2, LEVELS, 0, time_step=900.0)(x, y)
    liquid = out[:, OUTPUTS.slice("ptend_q0002", LEVELS)]
    expected = ((269.0 - 253.16) / 20 * 2e-5 - 1e-5) / 900
    torch.testing.assert_close(liquid, torch.full_like(liquid, expected), rtol=2e-4, atol=0)


def pruned(values, inputs, **settings):
    """Network inputs under a pruning, and where each variable lies."""
    made = from_statistics(statistics_of(values), inputs, LEVELS, pruning=PruningConfig(**settings))
    variables = ENCODINGS[inputs].variables
    return parts(made.inputs(vector(values, variables)), variables), made


def test_published_pruning_keys_zero_the_published_ranges():
    values = {name: x + 0.1 for name, x in samples(LEVELS).items()}
    free, _ = pruned(values, "standard", qinput_prune=False)
    assert (free["state_qn"] != 0).any(axis=0).all()
    plain, _ = pruned(values, "standard", strato_lev=4)
    assert (plain["state_qn"][:, :4] == 0).all()
    assert (plain["state_qn"][:, 4:] == free["state_qn"][:, 4:]).all()
    z, _ = pruned(
        values, "standard", aggressive_pruning=True, strato_lev=3, strato_lev_qinput=5,
        strato_lev_qc=7, strato_lev_tinput=2,
    )  # fmt: skip
    empty = {name: int((x == 0).all(axis=0).sum()) for name, x in z.items() if x.ndim == 2}
    assert empty == {
        "state_t": 2, "state_rh": 5, "state_qn": 7, "liq_partition": 5, "state_u": 3, "state_v": 3,
        "pbuf_ozone": 0, "pbuf_CH4": 0, "pbuf_N2O": 0,
    }  # fmt: skip
    assert (z["cam_in_SNOWHICE"] == 0).all()
    cloudless, _ = pruned(values, "expanded", decouple_cloud=True)
    gone = {name for name, x in cloudless.items() if x.ndim == 2 and (x == 0).all()}
    assert gone == {"state_qn", "liq_partition", "state_qn_prvphy", "tm_state_qn_prvphy"}


def test_published_clipping_keys_clip_to_the_published_ranges():
    values = samples(LEVELS)
    for name in ("state_t_dyn", "state_t_prvphy", "state_rh"):
        values[name] = 50.0 * (values[name] - values[name].mean(0))
    rh, _ = pruned(values, "expanded")
    assert (rh["state_rh"].min(), rh["state_rh"].max()) == (0.0, pytest.approx(1.2))
    assert rh["state_t_prvphy"].max() > 3
    every, _ = pruned(values, "expanded", input_clip_rhonly=False)
    assert every["state_t_prvphy"].max() <= 3
    assert np.abs(every["state_t_dyn"]).max() <= 0.5
    none, _ = pruned(values, "expanded", input_clip=False)
    assert none["state_rh"].min() < 0


def test_output_pruning_follows_its_keys_in_targets_and_network():
    values = samples(LEVELS)
    ones = torch.ones(1, TARGETS.size(LEVELS))
    for settings, zeros in (({"strato_lev_out": 5}, 5), ({"output_prune": False}, 0)):
        _, made = pruned(values, "multirep", **settings)
        kept = TARGETS.fields(made.targets.encode(ones).numpy(), LEVELS)
        assert int((kept["ptend_u"] == 0).sum()) == zeros
        assert (kept["ptend_t"] != 0).all()
        levels = PruningConfig(**settings).pruned_outputs
        network = build_network("unet", "multirep", preset="small", n_levels=LEVELS,
                                pruned_levels=levels)  # fmt: skip
        assert network.config["pruned_levels"] == zeros
        assert int((network.kept == 0).sum()) == 4 * zeros


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strato_lev": 30}, r"pruning\.strato_lev_qinput: expected at least strato_lev=30"),
        ({"strato_lev_out": -1}, r"pruning\.strato_lev_out: expected a whole number"),
    ],
)
def test_pruning_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ClimSimError, match=message):
        PruningConfig(**settings)


def test_inputs_in_three_representations_are_not_pruned():
    with pytest.raises(ClimSimError, match=r"recipe\.inputs=multirep, found others"):
        pruned(samples(LEVELS), "multirep", strato_lev=3)


def test_checkpoint_of_before_pruning_was_a_setting_is_read_with_the_published_one():
    values = samples(LEVELS)
    known = from_statistics(statistics_of(values), "standard", LEVELS)
    state = {k: v for k, v in known.inputs.state_dict().items()
             if k not in ("kept", "lowest", "highest")}  # fmt: skip
    again = empty_transforms(transforms_card(known))
    load_weights("old.ckpt", again.inputs, state)
    x = vector(values, STANDARD)
    assert torch.equal(again.inputs(x), known.inputs(x))
