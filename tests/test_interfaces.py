"""The tables of interfaces and encodings, and that an encoding is one row of them."""

from dataclasses import replace

import pytest
import torch

from climsim.errors import ClimSimError
from climsim.interfaces import ENCODINGS, V2, V6, encoding
from climsim.networks import build_network
from climsim.transforms import from_statistics
from climsim.variables import EXPANDED, STANDARD
from tests.physical_samples import samples, statistics_of, vector

LEVELS = 18


def test_interfaces_hold_liquid_and_ice_where_encodings_hold_condensate():
    assert V2.variables.names[:6] == (
        "state_t", "state_rh", "state_q0002", "state_q0003", "state_u", "state_v",
    )  # fmt: skip
    assert (V2.steps_of_memory, V6.steps_of_memory) == (0, 2)
    assert (V2.variables.size(), V6.variables.size(), V2.outputs.size()) == (557, 1519, 368)
    assert "tm_state_q0003_prvphy" in V6.variables.names
    assert not {"state_qn", "liq_partition"} & set(V6.variables.names)


def test_network_sees_the_profiles_and_scalars_of_its_encoding():
    sizes = {name: (e.profiles, e.scalars) for name, e in ENCODINGS.items()}
    assert sizes == {"standard": (9, 17), "multirep": (25, 17), "expanded": (23, 19)}


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
    with pytest.raises(ClimSimError, match=r"unknown inputs 'v3'.*expanded, multirep, standard"):
        encoding("v3")
    assert encoding("standard").variables is STANDARD
