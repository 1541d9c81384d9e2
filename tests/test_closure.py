"""Columns whose water the model closes: by hand, under every network and recipe, in the file."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from climsim.checkpoint_cards import WATER, WATER_CLOUD, WATER_HEAT, WATER_SATURATED
from climsim.configuration import compose_config
from climsim.constants import (
    DRY_AIR_HEAT_CAPACITY,
    E3SM,
    EXPORT_ZERO_LEVELS,
    GRAVITY,
    TIME_STEP,
    VAPORIZATION_HEAT,
    WATER_DENSITY,
)
from climsim.errors import ClimSimError
from climsim.export.loading import load_emulator
from climsim.export.writing import export_model
from climsim.interfaces import ENCODINGS, V6
from climsim.networks import build_network
from climsim.online.coupler import split_output
from climsim.physics.budgets import column_water_residual
from climsim.physics.columns import Columns
from climsim.physics.condensate import total_water
from climsim.physics.thermodynamics import (
    liquid_fraction,
    relative_humidity,
    saturation_humidity,
)
from climsim.training.checkpoint import describe_model, load_model, save_model
from climsim.training.config import RecipeConfig
from climsim.transforms import ColumnClosure, from_statistics
from climsim.transforms.saturation import MOST_HUMID, Saturation
from climsim.variables import TARGETS
from tests.grids import make_grid
from tests.physical_samples import samples, statistics_of, vector
from tests.test_export import RECIPES, TINY

LEVELS, COLUMNS = 24, 6
TOP = EXPORT_ZERO_LEVELS
GRID = make_grid(COLUMNS, LEVELS)


def physical(seed=0, n=50):
    """Values of every variable, with a surface pressure of Earth."""
    values = samples(LEVELS, n, seed)
    return values | {"state_ps": np.random.default_rng(seed).uniform(7e4, 1.02e5, n)}


def closure_of(transforms, kind=WATER, gravity=GRAVITY):
    chosen = transforms.inputs.encoding
    scale = transforms.targets.scale[chosen.targets.slice("ptend_q0001", LEVELS)]
    closure = ColumnClosure(chosen, LEVELS, kind).prepare(GRID, scale.numpy(), 12, gravity)
    return closure.requires_grad_(False)


def mass_of(pressure):
    return Columns.between(GRID.interface_pressure(pressure), E3SM)


def standard():
    transforms = from_statistics(statistics_of(physical()), "standard", LEVELS)
    values = physical(3, COLUMNS)
    return transforms, values, vector(values, ENCODINGS["standard"].variables)


def test_residual_leaves_the_vapour_by_weight_as_worked_by_hand():
    transforms, values, x = standard()
    closure = closure_of(transforms)
    scale = transforms.targets.scale[TARGETS.slice("ptend_q0001", LEVELS)].double().numpy()
    y = torch.zeros(COLUMNS, TARGETS.size(LEVELS))
    y[:, TARGETS.slice("cam_out_PRECC", LEVELS)] = 3e-8
    found = closure(x, y)[:, TARGETS.slice("ptend_q0001", LEVELS)].double().numpy()
    mass = mass_of(values["state_ps"].astype(np.float32)).mass.T
    weight = np.where(np.arange(LEVELS) < TOP, 0.0, scale**-2.0)
    expected = -WATER_DENSITY * 3e-8 * weight / (weight * mass).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_rain_below_zero_counts_as_none_and_is_none_outside_of_training():
    transforms, _, x = standard()
    y = torch.zeros(COLUMNS, TARGETS.size(LEVELS))
    y[:, TARGETS.slice("cam_out_PRECC", LEVELS)] = -3e-8
    y[:, TARGETS.slice("ptend_t", LEVELS)] = 1e-5
    closure = closure_of(transforms)
    assert torch.equal(closure(x, y), y)
    dry = y.clone()
    dry[:, TARGETS.slice("cam_out_PRECC", LEVELS)] = 0.0
    assert torch.equal(closure.eval()(x, y), dry)


def test_heat_of_the_vapour_taken_keeps_the_moist_energy():
    transforms, values, x = standard()
    y = vector(values, TARGETS)
    change = closure_of(transforms, WATER_HEAT)(x, y).double() - y.double()
    heating, vapour = (change[:, TARGETS.slice(n, LEVELS)] for n in ("ptend_t", "ptend_q0001"))
    assert vapour.abs().max() > 0
    energy = DRY_AIR_HEAT_CAPACITY * heating + VAPORIZATION_HEAT * vapour
    assert energy.abs().max() < 1e-4 * (VAPORIZATION_HEAT * vapour).abs().max()


def clouds(amounts, tendencies):
    """Columns with this condensate [kg kg-1] in the lowest levels, and its changes in a step."""
    _, _, x = standard()
    y = torch.zeros(COLUMNS, TARGETS.size(LEVELS))
    state = ENCODINGS["standard"].variables.slice("state_qn", LEVELS)
    x[:, state], lowest = 0.0, slice(LEVELS - len(amounts), LEVELS)
    x[:, state][:, lowest] = torch.tensor(amounts)
    y[:, TARGETS.slice("ptend_qn", LEVELS)][:, lowest] = torch.tensor(tendencies) / TIME_STEP
    return x, y, x[:, ENCODINGS["standard"].variables.slice("state_ps", LEVELS)]


def test_condensate_that_is_not_there_is_borrowed_from_the_rest_of_the_column():
    transforms, _, _ = standard()
    x, y, pressure = clouds([0.0, 2e-5, 4e-5], [-1e-5, 0.0, 0.0])
    found = closure_of(transforms, WATER_CLOUD)(x, y)[:, TARGETS.slice("ptend_qn", LEVELS)]
    mass = mass_of(pressure[:, 0].double().numpy()).mass.T[:, -3:]
    lent = 1e-5 * mass[:, 0] / (2e-5 * mass[:, 1] + 4e-5 * mass[:, 2])
    expected = np.stack([0 * lent, -2e-5 * lent, -4e-5 * lent], axis=1) / TIME_STEP
    np.testing.assert_allclose(found[:, -3:].double().numpy(), expected, rtol=1e-5, atol=1e-18)
    assert (found[:, :-3] == 0).all()


def test_column_with_less_condensate_than_is_taken_keeps_none_and_its_vapour_pays():
    transforms, _, _ = standard()
    x, y, pressure = clouds([1e-5, 2e-5], [-5e-5, 0.0])
    closed = closure_of(transforms, WATER_CLOUD)(x, y)
    found = closed[:, TARGETS.slice("ptend_qn", LEVELS)][:, -2:].double().numpy()
    np.testing.assert_allclose(TIME_STEP * found, [[-1e-5, -2e-5]] * COLUMNS, rtol=1e-6)
    columns = mass_of(pressure[:, 0].double().numpy())
    vapour = closed[:, TARGETS.slice("ptend_q0001", LEVELS)].double().numpy().T
    gained = columns.integral(vapour)
    np.testing.assert_allclose(TIME_STEP * gained, columns.mass[-2:].T @ [1e-5, 2e-5], rtol=1e-5)


def test_column_whose_condensate_stays_positive_is_closed_as_without_borrowing():
    transforms, _, _ = standard()
    x, y, _ = clouds([1e-5, 2e-5], [-1e-5, 3e-5])
    y[:, TARGETS.slice("cam_out_PRECC", LEVELS)] = 3e-8
    assert torch.equal(closure_of(transforms, WATER_CLOUD)(x, y), closure_of(transforms)(x, y))


def test_time_step_of_the_data_is_that_over_which_condensate_is_kept():
    transforms, _, _ = standard()
    x, y, _ = clouds([1e-5, 2e-5], [-1.5e-5, 0.0])
    chosen = transforms.inputs.encoding
    half = ColumnClosure(chosen, LEVELS, WATER_CLOUD)
    half.prepare(GRID, np.ones(LEVELS), 12, time_step=TIME_STEP / 2)
    qn = TARGETS.slice("ptend_qn", LEVELS)
    assert torch.equal(half(x, y)[:, qn], y[:, qn])
    assert not torch.equal(closure_of(transforms, WATER_CLOUD)(x, y)[:, qn], y[:, qn])


def test_gradient_passes_through_borrowed_condensate():
    transforms, _, _ = standard()
    x, y, _ = clouds([0.0, 2e-5, 4e-5], [-1e-5, 0.0, 0.0])
    y.requires_grad_()
    qn = TARGETS.slice("ptend_qn", LEVELS)
    closure_of(transforms, WATER_CLOUD)(x, y)[:, qn][:, -1].sum().backward()
    assert torch.isfinite(y.grad).all()
    assert (y.grad[:, qn][:, -3] > 0).all()


def test_saturation_in_the_model_is_that_of_the_features():
    temperature = np.linspace(150.0, 330.0, 500)
    pressure = np.linspace(5e3, 1.01e5, 500)
    found = Saturation().humidity(torch.tensor(temperature), torch.tensor(pressure)).numpy()
    np.testing.assert_allclose(found, saturation_humidity(temperature, pressure), rtol=1e-12)


def test_vapour_above_saturation_condenses_and_warms_until_little_is_left():
    generator = np.random.default_rng(4)
    shape = (40, LEVELS)
    temperature, pressure = generator.uniform(200, 305, shape), generator.uniform(2e4, 1e5, shape)
    humid = generator.uniform(0.2, 1.8, shape)
    vapour = humid * saturation_humidity(temperature, pressure)
    columns = (torch.tensor(values) for values in (temperature, vapour, pressure))
    condensed, warming = (part.numpy() for part in Saturation()(*columns))
    assert (condensed[humid <= MOST_HUMID] == 0).all()
    after = relative_humidity(vapour - condensed, temperature + warming, pressure)
    assert after.max() < MOST_HUMID + 2e-3
    above = humid > MOST_HUMID
    assert after[above].min() > MOST_HUMID - 2e-3
    latent = VAPORIZATION_HEAT + (1 - liquid_fraction(temperature)) * E3SM.fusion_heat
    np.testing.assert_allclose(warming, latent / DRY_AIR_HEAT_CAPACITY * condensed, rtol=1e-12)


def moist():
    """Inputs with air above saturation in one level, and tendencies that hardly change it."""
    transforms, _, x = standard()
    humid = x[:, ENCODINGS["standard"].variables.slice("state_rh", LEVELS)]
    humid[:], humid[:, -3] = 0.5, 1.5
    y = torch.zeros(COLUMNS, TARGETS.size(LEVELS))
    y[:, TARGETS.slice("ptend_u", LEVELS)] = 1e-5
    return transforms, x, y


def test_what_condenses_stays_in_its_column_and_level():
    transforms, x, y = moist()
    found = closure_of(transforms, WATER_SATURATED)(x, y) - closure_of(transforms)(x, y)
    names = ("ptend_q0001", "ptend_qn", "ptend_t")
    vapour, cloud, heating = (found[:, TARGETS.slice(n, LEVELS)].double() for n in names)
    assert (cloud[:, -3] > 0).all()
    assert (heating[:, -3] > 0).all()
    torch.testing.assert_close(cloud, -vapour)
    cloud[:, -3] = 0.0
    assert (cloud == 0).all()
    assert (found[:, TARGETS.slice("ptend_u", LEVELS)] == 0).all()


def test_gradient_passes_through_condensation():
    transforms, x, y = moist()
    y.requires_grad_()
    closure_of(transforms, WATER_SATURATED)(x, y).square().sum().backward()
    assert torch.isfinite(y.grad).all()


@pytest.mark.parametrize("inputs", ["v1", "v2"])
def test_inputs_without_relative_humidity_are_refused_for_saturation(inputs):
    with pytest.raises(ClimSimError, match=r"recipe.closure: expected .* with recipe.inputs=v"):
        RecipeConfig(inputs=inputs, closure=WATER_SATURATED)


def test_gravity_of_the_data_is_that_of_the_layers():
    transforms, _, x = standard()
    light, heavy = (closure_of(transforms, gravity=g) for g in (GRAVITY, 2 * GRAVITY))
    y = torch.zeros(COLUMNS, TARGETS.size(LEVELS))
    y[:, TARGETS.slice("cam_out_PRECC", LEVELS)] = 3e-8
    torch.testing.assert_close(heavy(x, y), torch.where(y > 0, y, 2 * light(x, y)))


def test_gradient_reaches_weights_and_every_water_target():
    transforms, values, x = standard()
    closure = closure_of(transforms).requires_grad_(True)
    y = vector(values, TARGETS).requires_grad_()
    closure(x, y)[:, TARGETS.slice("ptend_q0001", LEVELS).start + TOP + 1].sum().backward()
    assert (closure.learned.grad[TOP:] != 0).all()
    for name in ("ptend_q0001", "ptend_qn"):
        assert (y.grad[:, TARGETS.slice(name, LEVELS)][:, TOP:] != 0).all(), name
    assert (y.grad[:, TARGETS.slice("cam_out_PRECC", LEVELS)] != 0).all()


def checkpoint_of(folder, name, recipe, kind, file="model.ckpt", seed=7, weights=1.0):
    settings = compose_config("train", [f"recipe={recipe}", "data.store=x", "out=y"])["recipe"]
    known = statistics_of(physical())
    transforms = from_statistics(known, settings["inputs"], LEVELS, clip_margin=1.0)
    if kind is not None:
        transforms = replace(transforms, closure=closure_of(transforms, kind))
    torch.manual_seed(seed)
    network = build_network(
        name, settings["inputs"], settings["confidence"], "small", LEVELS, **TINY[name]
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape)).mul_(weights)
    about = describe_model(network.config, transforms, {}, {}, known, recipe=recipe, seed=seed)
    return save_model(folder / file, network, transforms, about)


def residual_share(path):
    """Residual of the columns of a file over the water that moves in them."""
    emulator = load_emulator(path)
    values = physical(5, COLUMNS)
    output = split_output(emulator(vector(values, emulator.interface.variables).numpy()), LEVELS)
    columns = mass_of(values["state_ps"].astype(np.float32))
    rain = np.maximum(output.surface["cam_out_PRECC"], 0.0)
    fields = {**output.tendencies, "cam_out_PRECC": rain}
    moved = columns.integral(np.abs(total_water(fields, "ptend_"))) + WATER_DENSITY * rain
    return np.abs(column_water_residual(fields, columns)) / moved


COMBINATIONS = [(name, "standard") for name in sorted(TINY)]
COMBINATIONS += [("pao_model", recipe) for recipe in RECIPES if recipe != "standard"]
COMBINATIONS = [(*pair, WATER) for pair in COMBINATIONS] + [("unet", "v6", WATER_SATURATED)]


@pytest.mark.parametrize(("name", "recipe", "kind"), COMBINATIONS)
def test_exported_file_closes_the_water_of_every_column(name, recipe, kind, tmp_path):
    path = export_model(checkpoint_of(tmp_path, name, recipe, kind), tmp_path / "model.pt")
    assert residual_share(path).max() < 1e-6
    assert load_emulator(path).metadata["closure"] == kind


@pytest.mark.parametrize("recipe", ["standard", "v6"])
def test_exported_file_that_borrows_leaves_no_condensate_negative(recipe, tmp_path):
    paths = {
        kind: export_model(
            checkpoint_of(tmp_path, "unet", recipe, kind, f"{kind}.ckpt"), tmp_path / f"{kind}.pt"
        )
        for kind in (WATER, WATER_CLOUD)
    }
    assert residual_share(paths[WATER_CLOUD]).max() < 1e-6
    assert least_condensate(paths[WATER]) < -1e-6
    assert least_condensate(paths[WATER_CLOUD]) > -1e-10


@pytest.mark.parametrize("recipe", ["standard", "v6"])
def test_exported_file_leaves_no_air_above_saturation(recipe, tmp_path):
    most = {}
    for kind in (WATER, WATER_SATURATED):
        checkpoint = checkpoint_of(tmp_path, "unet", recipe, kind, f"{kind}.ckpt", weights=0.0)
        path = export_model(checkpoint, tmp_path / f"{kind}.pt")
        emulator, values = load_emulator(path), physical(5, COLUMNS)
        pressure = GRID.midpoint_pressure(values["state_ps"]).T
        vapour = values["state_rh"] * saturation_humidity(values["state_t"], pressure)
        output = split_output(
            emulator(vector(values, emulator.interface.variables).numpy()), LEVELS
        )
        after = relative_humidity(
            vapour.T + TIME_STEP * output.tendencies["ptend_q0001"],
            values["state_t"].T + TIME_STEP * output.tendencies["ptend_t"],
            pressure.T,
        )
        most[kind] = after[TOP:].max()
    assert most[WATER] > 1.1
    assert most[WATER_SATURATED] < MOST_HUMID + 0.01


def least_condensate(path):
    """The least liquid or ice that a file leaves in a level that may change [kg kg-1]."""
    emulator = load_emulator(path)
    values = physical(5, COLUMNS)
    output = split_output(emulator(vector(values, emulator.interface.variables).numpy()), LEVELS)
    return min(
        (values[f"state_{n}"].T + TIME_STEP * output.tendencies[f"ptend_{n}"])[TOP:].min()
        for n in ("q0002", "q0003")
    )


def test_file_without_closure_does_not_close_and_says_so(tmp_path):
    path = export_model(checkpoint_of(tmp_path, "unet", "standard", None), tmp_path / "model.pt")
    assert residual_share(path).min() > 1e-3
    assert load_emulator(path).metadata["closure"] == "none"


def test_ensemble_of_closed_members_is_closed_and_takes_no_other_member(tmp_path):
    closed = [
        checkpoint_of(tmp_path, "pao_model", "standard", WATER, f"{seed}.ckpt", seed)
        for seed in (1, 2)
    ]
    assert residual_share(export_model(tuple(closed), tmp_path / "mean.pt")).max() < 1e-6
    free = checkpoint_of(tmp_path, "pao_model", "standard", None, "free.ckpt")
    with pytest.raises(ClimSimError, match=r"found .*'none'"):
        export_model((closed[0], free), tmp_path / "mixed.pt")


def test_learned_weights_return_from_the_checkpoint(tmp_path):
    path = checkpoint_of(tmp_path, "unet", "standard", WATER_HEAT)
    model = load_model(path)
    model.transforms.closure.learned[TOP] = 2.0
    again = load_model(save_model(tmp_path / "again.ckpt", model.network, model.transforms,
                                  model.about))  # fmt: skip
    assert again.transforms.closure.kind == WATER_HEAT
    assert again.transforms.closure.learned[TOP] == 2.0
    torch.testing.assert_close(again.transforms.closure.start, model.transforms.closure.start)


def test_levels_without_moisture_alone_are_refused():
    with pytest.raises(ClimSimError, match=r"recipe\.closure=water: expected levels below the top"):
        ColumnClosure(V6_ENCODING, 10).prepare(make_grid(COLUMNS, 10), np.ones(10), 12)


V6_ENCODING = next(e for e in ENCODINGS.values() if e.interface is V6)
