"""The tables of interfaces and encodings, and that an encoding is one row of them."""

from dataclasses import replace

import pytest
import torch

from climsim.errors import ClimSimError
from climsim.interfaces import ENCODINGS, V2, V6, encoding
from climsim.networks import build_network
from climsim.transforms import InterfaceTransform, from_statistics
from climsim.variables import EXPANDED, STANDARD
from tests.physical_samples import samples, statistics_of, vector

LEVELS = 18


def test_interfaces_hold_liquid_and_ice_where_encodings_hold_condensate():
    assert V2.variables.names[:6] == (
        "state_t",
        "state_rh",
        "state_q0002",
        "state_q0003",
        "state_u",
        "state_v",
    )
    assert (V2.steps_of_memory, V6.steps_of_memory) == (0, 2)
    assert (V2.variables.size(), V6.variables.size(), V2.outputs.size()) == (557, 1519, 368)
    assert "tm_state_q0003_prvphy" in V6.variables.names
    assert not {"state_qn", "liq_partition"} & set(V6.variables.names)


def test_network_sees_the_profiles_and_scalars_of_its_encoding():
    sizes = {name: (e.profiles, e.scalars) for name, e in ENCODINGS.items()}
    assert sizes == {
        "standard": (9, 17),
        "multirep": (25, 17),
        "expanded": (23, 19),
        "v1": (2, 4),
        "v2": (9, 17),
        "v2_rh": (9, 17),
        "v3": (12, 17),
        "v4": (25, 25),
        "v5": (23, 25),
        "v7": (13, 17),
    }


def test_published_sets_have_their_published_lengths():
    # The comments of the published `set_to_*_vars`, and the length of its lists where they lie.
    lengths = {
        "v1": (124, 128),
        "v2": (557, 368),
        "v2_rh": (557, 368),
        "v2_rh_mc": (557, 308),
        "v3": (737, 368),
        "v4": (1525, 368),
        "v5": (1405, 308),
        "v6": (1399, 308),
        "v7": (797, 308),
    }
    rows = {e.published_tag: e for e in ENCODINGS.values()}
    found = {tag: (e.variables.size(), e.targets.size()) for tag, e in rows.items()}
    assert found == lengths


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_is_reached_through_its_interface(name):
    row, values = ENCODINGS[name], samples(LEVELS, 3)
    inputs = from_statistics(statistics_of(values), name, LEVELS).inputs
    given = vector(values, row.interface.variables)
    torch.testing.assert_close(
        InterfaceTransform(row, LEVELS)(given), vector(values, row.variables), rtol=1e-5, atol=1e-12
    )
    network = build_network("unet", name, preset="small", n_levels=LEVELS).eval()
    prediction = network(inputs(vector(values, row.variables)))
    assert prediction.shape == (3, row.targets.size(LEVELS))
    wind = row.targets.slices(LEVELS).get("ptend_u")
    assert wind is None or (prediction[:, wind][:, :12] == 0).all()


def test_new_row_of_the_table_is_a_new_encoding(monkeypatch):
    repeated = tuple(n for n in EXPANDED.profiles if n != "liq_partition")
    row = replace(ENCODINGS["expanded"], name="expanded_multirep", repeated=repeated)
    monkeypatch.setitem(ENCODINGS, row.name, row)
    values = samples(LEVELS, 5)
    inputs = from_statistics(statistics_of(values), row.name, LEVELS).inputs
    network = build_network("unet", row.name, preset="small", n_levels=LEVELS)
    z = inputs(vector(values, EXPANDED))
    assert z.shape == (5, (23 + 2 * 22) * LEVELS + 19)
    assert torch.isfinite(network(z)).all()


def test_unknown_encoding_lists_the_known_ones():
    with pytest.raises(
        ClimSimError, match=r"unknown inputs 'v8'.*expanded, multirep, standard, v1, v2"
    ):
        encoding("v8")
    assert encoding("standard").variables is STANDARD
