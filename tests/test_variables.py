import pytest

from climsim import variables as v
from climsim.errors import ClimSimError
from climsim.interfaces import V2, V6


@pytest.mark.parametrize(
    ("chosen", "size"),
    [
        (v.STANDARD, 557),
        (v.EXPANDED, 1399),
        (v.TARGETS, 308),
        (v.KAGGLE_INPUTS, 556),
        (V2.variables, 557),
        (V6.variables, 1519),
        (v.OUTPUTS, 368),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_sizes_of_published_sets(chosen, size):
    assert chosen.size() == size


def test_slices_tile_the_vector_in_order():
    for chosen in (v.STANDARD, v.EXPANDED, v.TARGETS, v.KAGGLE_INPUTS, V6.variables):
        stop = 0
        for name in chosen.names:
            part = chosen.slice(name, levels=7)
            assert part.start == stop
            stop = part.stop
        assert stop == chosen.size(levels=7)


def test_expanded_order_is_the_published_one():
    names = v.EXPANDED.profiles
    assert names[6:12] == (
        "state_t_dyn",
        "state_q0_dyn",
        "state_u_dyn",
        "tm_state_t_dyn",
        "tm_state_q0_dyn",
        "tm_state_u_dyn",
    )
    assert names[12:16] == (
        "state_t_prvphy",
        "state_q0001_prvphy",
        "state_qn_prvphy",
        "state_u_prvphy",
    )
    assert v.EXPANDED.scalars[-2:] == ("clat", "slat")


def test_unknown_variable_lists_the_known_ones():
    with pytest.raises(ClimSimError, match=r"unknown variable of the set 'v2' 'ptend_t'.*state_rh"):
        V2.variables.slice("ptend_t")
    with pytest.raises(ClimSimError, match="unknown variable 'nothing'"):
        v.variable("nothing")
