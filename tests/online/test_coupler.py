"""Each rule of the coupler, by hand on three columns of five levels."""

import numpy as np
import pytest

from climsim.constants import DRY_AIR_HEAT_CAPACITY, E3SM, GRAVITY
from climsim.errors import ClimSimError
from climsim.online.coupler import ModelOutput, couple, network_share, split_output
from climsim.physics.air import Air
from climsim.runs.coupling import CouplerOptions
from climsim.variables import NIGHT_ZERO, OUTPUTS, TARGETS

LEVELS, COLUMNS, DT = 5, 3, 1200.0
INTERFACES = np.array([100.0, 5e3, 2e4, 5e4, 8e4, 1e5])[:, None] * np.ones(COLUMNS)
MIDPOINTS = (INTERFACES[1:] + INTERFACES[:-1]) / 2


def state(**changes):
    """Columns whose levels 0 to 2 lie above 400 hPa; the tropopause is level 1."""
    fields = {
        "state_t": np.array([230.0, 215.0, 220.0, 265.0, 290.0])[:, None] * np.ones(COLUMNS),
        "state_q0001": np.full((LEVELS, COLUMNS), 1e-3),
        "state_q0002": np.full((LEVELS, COLUMNS), 2e-5),
        "state_q0003": np.full((LEVELS, COLUMNS), 3e-5),
        "state_pmid": MIDPOINTS,
        "pbuf_COSZRS": np.array([0.5, 0.0, 0.9]),
        "cam_in_OCNFRAC": np.array([1.0, 0.999, 0.0]),
    }
    return fields | changes


def air(fields, interfaces=INTERFACES):
    return Air(interfaces, fields["state_t"], fields["state_q0001"], E3SM)


def output(profiles=0.0, scalars=100.0, **changes):
    tendencies = {n: np.full((LEVELS, COLUMNS), profiles) for n in OUTPUTS.profiles}
    surface = {n: np.full(COLUMNS, scalars) for n in OUTPUTS.scalars}
    for name, value in changes.items():
        (surface if name in surface else tendencies)[name] = np.array(value)
    return ModelOutput(tendencies, surface)


def bare(**changes):
    """Options with every rule off that the test does not ask for."""
    return CouplerOptions(
        **({"strato_water": False, "positivity": False, "top_levels": 0} | changes)
    )


def handed(network, options=None, step=0, physics=None, **changes):
    fields = state(**changes)
    return couple(network, fields, air(fields), options or bare(), step, physics=physics, dt=DT)


def test_all_eight_scalars_are_floored_at_zero_and_counted():
    result = handed(output(scalars=-3.0))
    assert all((x == 0).all() for x in result.surface.values())
    assert all(result.corrections.counts[f"floor:{n}"].sum() == COLUMNS for n in OUTPUTS.scalars)


def test_shortwave_vanishes_where_the_sun_is_at_or_below_the_horizon():
    result = handed(output(scalars=7.0))
    for name in OUTPUTS.scalars:
        expected = [7.0, 0.0, 7.0] if name in NIGHT_ZERO else [7.0, 7.0, 7.0]
        np.testing.assert_array_equal(result.surface[name], expected)
    assert result.corrections.counts["night:cam_out_SOLSD"].sum() == 1
    assert "night:cam_out_FLWDS" not in result.corrections.counts


def test_negative_cosine_counts_as_night():
    result = handed(output(scalars=7.0), pbuf_COSZRS=np.array([-0.1, 0.2, -0.9]))
    np.testing.assert_array_equal(result.surface["cam_out_SOLL"], [0.0, 7.0, 0.0])


def test_stratosphere_keeps_its_vapour_and_loses_its_cloud():
    result = handed(output(profiles=1e-9), bare(strato_water=True))
    np.testing.assert_array_equal(result.tendencies["ptend_q0001"][:, 0], [0, 0, 1e-9, 1e-9, 1e-9])
    liquid, ice = -2e-5 / DT, -3e-5 / DT
    np.testing.assert_allclose(
        result.tendencies["ptend_q0002"][:, 1], [liquid, liquid, 1e-9, 1e-9, 1e-9], rtol=1e-12
    )
    np.testing.assert_allclose(result.tendencies["ptend_q0003"][:2], ice, rtol=1e-12)
    np.testing.assert_array_equal(result.tendencies["ptend_t"], 1e-9)
    assert result.corrections.counts["strato_water:ptend_q0001"].sum() == 2 * COLUMNS


def test_tropopause_is_the_lowest_stable_level_not_the_highest():
    warm_aloft = state()["state_t"].copy()
    warm_aloft[2, 1] = 262.0  # stable up to level 2 in column 1: theta 366 K against 308 K below
    warm_aloft[1, 1] = 258.0
    result = handed(output(profiles=1e-9), bare(strato_water=True), state_t=warm_aloft)
    np.testing.assert_array_equal(result.tendencies["ptend_q0001"][2], [1e-9, 0.0, 1e-9])


def test_a_column_without_stable_level_keeps_all_tendencies():
    mixed = np.broadcast_to(300.0 * (MIDPOINTS / 1e5) ** 0.2857, (LEVELS, COLUMNS))
    result = handed(output(profiles=1e-9), bare(strato_water=True), state_t=mixed)
    np.testing.assert_array_equal(result.tendencies["ptend_q0001"], 1e-9)


@pytest.mark.parametrize(("name", "content"), [("q0001", 1e-3), ("q0002", 2e-5), ("q0003", 3e-5)])
def test_water_that_would_turn_negative_ends_at_zero(name, content):
    tendency = np.zeros((LEVELS, COLUMNS))
    tendency[3, 2] = -2 * content / DT
    tendency[4, 0] = -0.5 * content / DT
    result = handed(output(**{f"ptend_{name}": tendency}), bare(positivity=True))
    new = state()[f"state_{name}"] + DT * result.tendencies[f"ptend_{name}"]
    assert abs(new[3, 2]) < 1e-18
    assert new[4, 0] == pytest.approx(0.5 * content)
    assert result.corrections.counts[f"positivity:ptend_{name}"].sum() == 1
    mass = (INTERFACES[4] - INTERFACES[3])[2] / GRAVITY
    added = result.corrections.added[f"ptend_{name}"]
    np.testing.assert_allclose(added, [0.0, 0.0, content / DT * mass], rtol=1e-12)


def test_water_that_ends_at_zero_exactly_is_no_correction():
    exact = np.full((LEVELS, COLUMNS), -(2.0**-10) / 1024.0)
    humidity = np.full((LEVELS, COLUMNS), 2.0**-10)
    network = output(ptend_q0001=exact)
    fields = state(state_q0001=humidity)
    result = couple(network, fields, air(fields), bare(positivity=True), 0, dt=1024.0)
    assert result.corrections.counts["positivity:ptend_q0001"].sum() == 0
    np.testing.assert_array_equal(result.tendencies["ptend_q0001"], exact)


def test_dry_static_energy_cannot_turn_negative():
    cooling = np.zeros((LEVELS, COLUMNS))
    cooling[4, 1] = -1.0  # 1200 K in one step
    result = handed(output(ptend_t=cooling), bare(positivity=True))
    # The lowest midpoint lies 930 m up: s / cp = 290 K + g z / cp.
    left = DT * result.tendencies["ptend_t"][4, 1] + 290.0
    assert (
        -GRAVITY * 1000.0 / DRY_AIR_HEAT_CAPACITY < left < -GRAVITY * 880.0 / DRY_AIR_HEAT_CAPACITY
    )
    assert result.corrections.counts["positivity:ptend_t"].sum() == 1


def test_top_levels_receive_heat_but_no_water_and_no_wind():
    result = handed(output(profiles=1e-6), bare(top_levels=2))
    for name, tendency in result.tendencies.items():
        assert (tendency[:2] == (1e-6 if name == "ptend_t" else 0.0)).all()
        assert (tendency[2:] == 1e-6).all()


def test_top_levels_win_over_the_removal_of_stratospheric_cloud():
    result = handed(output(), bare(strato_water=True, top_levels=1))
    np.testing.assert_array_equal(result.tendencies["ptend_q0002"][0], 0.0)
    assert (result.tendencies["ptend_q0002"][1] < 0).all()


def test_positivity_acts_on_what_the_stratosphere_rule_left():
    network = output(ptend_q0001=np.full((LEVELS, COLUMNS), -1.0))
    result = handed(network, bare(strato_water=True, positivity=True))
    assert result.corrections.counts["positivity:ptend_q0001"].sum() == 3 * COLUMNS
    np.testing.assert_array_equal(result.tendencies["ptend_q0001"][:2], 0.0)


def test_water_that_is_negative_already_counts_only_where_it_is_corrected():
    held = np.full((LEVELS, COLUMNS), 1e-3)
    held[3] = -1e-9
    network = output(ptend_q0001=np.full((LEVELS, COLUMNS), 1e-6))
    result = handed(network, bare(positivity=True), state_q0001=held)
    assert result.corrections.counts["positivity:ptend_q0001"].sum() == 0
    np.testing.assert_array_equal(
        result.tendencies["ptend_q0001"], network.tendencies["ptend_q0001"]
    )
    result = handed(output(), bare(positivity=True), state_q0001=held)
    assert result.corrections.counts["positivity:ptend_q0001"].sum() == COLUMNS


def test_partial_coupling_takes_only_the_chosen_variables_from_the_network():
    options = bare(partial_variables=("ptend_t", "cam_out_PRECC"))
    result = handed(output(1.0, 5.0), options, physics=output(2.0, 6.0))
    taken = {n for n, x in result.tendencies.items() if (x == 1.0).all()}
    assert taken == {"ptend_t"}
    assert {n for n, x in result.surface.items() if (x == 5.0).all()} == {"cam_out_PRECC"}
    assert (result.surface["cam_out_FLWDS"] == 6.0).all()


def test_ocean_only_takes_surface_scalars_from_physics_off_open_ocean():
    result = handed(output(1.0, 5.0), bare(ocean_only=True), physics=output(2.0, 6.0))
    np.testing.assert_array_equal(result.surface["cam_out_PRECC"], [5.0, 6.0, 6.0])
    assert all((x == 1.0).all() for x in result.tendencies.values())


def test_share_mixes_tendencies_and_scalars():
    options = bare(ramp_factor=0.25)
    result = handed(output(1.0, 5.0), options, physics=output(3.0, 9.0))
    np.testing.assert_allclose(result.tendencies["ptend_v"], 0.25 * 1.0 + 0.75 * 3.0)
    np.testing.assert_allclose(result.surface["cam_out_FLWDS"], 0.25 * 5.0 + 0.75 * 9.0)


def confident(*losses):
    """An output whose confidence of every target is one number a column."""
    profiles = {n: np.tile(losses, (LEVELS, 1)) for n in TARGETS.profiles}
    scalars = {n: np.array(losses) for n in TARGETS.scalars}
    plain = output(profiles=1.0)
    return ModelOutput(plain.tendencies, plain.surface, profiles | scalars)


def test_expected_error_moves_a_column_from_network_to_physics():
    options = bare(mixing="confidence", mixing_low=0.1, mixing_high=0.3, ramp_factor=0.5)
    assert options.needs_physics
    result = handed(confident(0.1, 0.25, 0.4), options, physics=output(profiles=3.0))
    np.testing.assert_allclose(result.share, [0.5, 0.125, 0.0])
    for level in result.tendencies["ptend_t"]:
        np.testing.assert_allclose(level, [2.0, 2.75, 3.0])


def test_mean_of_all_targets_of_a_column_counts():
    network = confident(0.0, 0.0, 0.0)
    network.confidence["ptend_t"][:, 1] = 1.0
    features = len(TARGETS.profiles) * LEVELS + len(TARGETS.scalars)
    options = bare(mixing="confidence", mixing_low=0.0, mixing_high=1.0)
    share = handed(network, options, physics=output()).share
    np.testing.assert_allclose(share, [1.0, 1.0 - LEVELS / features, 1.0])


def test_equal_bounds_are_a_threshold_and_full_share_is_exact():
    options = bare(mixing="confidence", mixing_low=0.25, mixing_high=0.25)
    network = confident(0.25, 0.26, 0.0)
    network.tendencies["ptend_t"][2, 0] = 0.1 + 0.2
    result = handed(network, options, physics=output(profiles=np.inf))
    np.testing.assert_array_equal(result.share, [1.0, 0.0, 1.0])
    assert result.tendencies["ptend_t"][2, 0] == 0.1 + 0.2
    assert np.isinf(result.tendencies["ptend_t"][:, 1]).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mixing": "confidence"}, "confidence head, .* recipe=conf_loss, or set .*=novelty$"),
        (
            {"mixing": "novelty", "mixing_statistics": "s.nc"},
            "the novelty of the inputs, found none: give the statistics of the training data$",
        ),
    ],
)
def test_a_share_that_follows_what_is_not_there_is_refused(given, message):
    options = bare(mixing_high=0.2, **given)
    with pytest.raises(
        ClimSimError, match=f"^coupler.mixing={options.mixing}: expected .*{message}"
    ):
        handed(output(), options, physics=output())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": "luck"}, "coupler.mixing: expected one of none, confidence, novelty"),
        ({"mixing": "confidence"}, "coupler.mixing_high: expected a positive, finite number"),
        (
            {"mixing": "confidence", "mixing_low": 2.0, "mixing_high": 1.0},
            "coupler.mixing_low: expected a number up to mixing_high=1, found 2.0",
        ),
        (
            {"mixing": "novelty", "mixing_high": 1.0},
            "coupler.mixing_statistics: expected a file of statistics",
        ),
        (
            {"mixing": "confidence", "mixing_high": 1.0, "mixing_statistics": "x.nc"},
            "coupler.mixing_statistics: expected none .only novelty",
        ),
    ],
)
def test_mixing_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ClimSimError, match=message):
        bare(**options)


def test_ramp_leaves_variables_outside_the_partial_choice_to_physics():
    options = bare(ramp_factor=0.5, partial_variables=("ptend_u",))
    result = handed(output(1.0), options, physics=output(3.0))
    np.testing.assert_array_equal(result.tendencies["ptend_u"], 2.0)
    np.testing.assert_array_equal(result.tendencies["ptend_v"], 3.0)


def test_linear_ramp_starts_at_zero_and_is_complete_after_its_steps():
    options = bare(ramp="linear", ramp_factor=0.8, ramp_linear_steps=4)
    shares = [network_share(options, step) for step in range(6)]
    assert shares == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 0.8])


def test_step_ramp_is_on_and_off_by_turns():
    options = bare(ramp="step", ramp_factor=0.5, ramp_step_1steps=2, ramp_step_0steps=3)
    shares = [network_share(options, step) for step in range(8)]
    assert shares == [0.5, 0.5, 0, 0, 0, 0.5, 0.5, 0]


def test_constant_ramp_does_not_depend_on_the_step():
    assert {network_share(bare(ramp_factor=0.3), s) for s in (0, 10, 10_000)} == {0.3}


def test_a_mean_of_two_partners_that_stay_positive_stays_positive():
    thirsty = output(ptend_q0001=np.full((LEVELS, COLUMNS), -5e-3 / DT))
    drying = output(ptend_q0001=np.full((LEVELS, COLUMNS), -1e-3 / DT))
    options = bare(positivity=True, ramp_factor=0.5)
    result = handed(thirsty, options, physics=drying)
    new = state()["state_q0001"] + DT * result.tendencies["ptend_q0001"]
    assert (new > -1e-18).all()


def test_blending_without_physics_is_refused():
    with pytest.raises(ClimSimError, match="need the host's physics"):
        handed(output(), bare(ramp_factor=0.5))


def test_input_arrays_are_left_as_they_were():
    network, fields = output(-1.0, -1.0), state()
    copies = {n: x.copy() for n, x in {**fields, **network.tendencies, **network.surface}.items()}
    couple(network, fields, air(fields), CouplerOptions(), 0, dt=DT)
    for name, value in {**fields, **network.tendencies, **network.surface}.items():
        np.testing.assert_array_equal(value, copies[name], err_msg=name)


def test_columns_do_not_depend_on_each_other():
    generator = np.random.default_rng(5)
    network = output(
        **{n: generator.normal(size=(LEVELS, COLUMNS)) * 1e-7 for n in OUTPUTS.profiles}
    )
    options = CouplerOptions(top_levels=1)
    whole = couple(network, state(), air(state()), options, 0, dt=DT)
    order = [2, 0, 1]
    shuffled = ModelOutput(
        {n: x[:, order] for n, x in network.tendencies.items()},
        {n: x[order] for n, x in network.surface.items()},
    )
    fields = {n: x[..., order] for n, x in state().items()}
    again = couple(shuffled, fields, air(fields, INTERFACES[:, order]), options, 0, dt=DT)
    for name, value in whole.tendencies.items():
        np.testing.assert_array_equal(again.tendencies[name], value[:, order])


def test_output_is_taken_apart_in_the_order_of_the_interface():
    vector = np.arange(COLUMNS * OUTPUTS.size(LEVELS), dtype=np.float32)
    vector = vector.reshape(COLUMNS, -1)
    parts = split_output(vector, LEVELS)
    np.testing.assert_array_equal(parts.tendencies["ptend_q0001"][:, 1], vector[1, 5:10])
    np.testing.assert_array_equal(parts.surface["cam_out_NETSW"], vector[:, 30])
    np.testing.assert_array_equal(parts.surface["cam_out_SOLLD"], vector[:, 37])
    assert not parts.confidence


def test_confidences_follow_the_outputs():
    size = OUTPUTS.size(LEVELS)
    vector = np.zeros((COLUMNS, size + TARGETS.size(LEVELS)), dtype=np.float32)
    vector[:, size + 2 * LEVELS + 3] = 0.5
    parts = split_output(vector, LEVELS)
    np.testing.assert_array_equal(parts.confidence["ptend_qn"][3], 0.5)
    assert parts.confidence["ptend_t"].shape == (LEVELS, COLUMNS)
    assert parts.confidence["cam_out_PRECC"].shape == (COLUMNS,)


def test_output_of_another_size_is_refused_in_one_line():
    with pytest.raises(ClimSimError, match=r"expected 38 or 71 values a column .* found 39"):
        split_output(np.zeros((COLUMNS, 39), dtype=np.float32), LEVELS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ramp": "cubic"}, "coupler.ramp: expected one of .*, found 'cubic'"),
        ({"ramp_factor": 1.5}, "coupler.ramp_factor: expected a number from 0 to 1"),
        ({"partial_variables": ("ptend_x",)}, "coupler.partial_variables: .* found 'ptend_x'"),
        ({"spinup_steps": -1}, "coupler.spinup_steps: expected a whole number >= 0"),
        ({"ramp_linear_steps": 0}, "coupler.ramp_linear_steps: expected a whole number >= 1"),
    ],
)
def test_options_out_of_range_name_their_key(changes, message):
    with pytest.raises(ClimSimError, match=message):
        CouplerOptions(**changes)
