"""Total condensate in fields and in vectors."""

import numpy as np
import pytest

from climsim.physics.condensate import quantity, rearrange
from climsim.variables import OUTPUTS, TARGETS, phases

LEVELS = 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ptend_qn", ("ptend_q0002", "ptend_q0003")),
        ("tm_state_qn_prvphy", ("tm_state_q0002_prvphy", "tm_state_q0003_prvphy")),
        ("qn", ("q0002", "q0003")),
        ("state_q0001", None),
        ("liq_partition", None),
    ],
)
def test_condensate_is_named_by_its_phases(name, expected):
    assert phases(name) == expected


def test_condensate_that_is_given_is_not_summed_again():
    fields = {"state_q0002": np.ones(2), "state_q0003": np.ones(2)}
    np.testing.assert_array_equal(quantity(fields, "state_qn"), [2.0, 2.0])
    np.testing.assert_array_equal(quantity(fields | {"state_qn": np.zeros(2)}, "state_qn"), 0.0)


def test_targets_are_the_outputs_with_liquid_and_ice_added():
    outputs = np.arange(2.0 * OUTPUTS.size(LEVELS)).reshape(2, -1).astype(np.float32)
    targets = rearrange(outputs, OUTPUTS, TARGETS, LEVELS)
    assert targets.shape == (2, TARGETS.size(LEVELS))
    assert targets.dtype == np.float32
    where, here = OUTPUTS.slices(LEVELS), TARGETS.slices(LEVELS)
    for name in TARGETS.names:
        expected = (
            outputs[:, where["ptend_q0002"]] + outputs[:, where["ptend_q0003"]]
            if name == "ptend_qn"
            else outputs[:, where[name]]
        )
        np.testing.assert_array_equal(targets[:, here[name]], expected)
