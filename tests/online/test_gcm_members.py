"""Members of the embedded model in one program: each moves as it does alone."""

import numpy as np
import pytest

from climsim.hosts.gcm.members import GcmMembers
from climsim.hosts.members import members_of, of_member

pytestmark = [pytest.mark.slow, pytest.mark.long]


def assert_close(found, expected):
    """Equal up to rounding in units of the largest value; surface fluxes are iterated: 6e-5."""
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        scale = np.abs(values).max() + 1e-30
        np.testing.assert_allclose(found[name] / scale, values / scale, atol=2e-4, err_msg=name)


def test_members_step_together_as_they_step_alone(gcm, tmp_path):
    other = gcm.another()
    other.perturb(1, 0.5)
    gcm.save(tmp_path / "first.npz")
    other.save(tmp_path / "second.npz")
    # The tendencies of each member's own physics, handed back in the hybrid step.
    given = [host.physics() for host in (gcm, other)]
    alone = []
    for host, name, result in zip((gcm, other), ("first", "second"), given, strict=True):
        host.restore(tmp_path / f"{name}.npz")
        host.step_emulated(result.tendencies, result.surface)
        alone.append((host.inputs(), host.date, host.step_number))
        host.restore(tmp_path / f"{name}.npz")

    members = members_of([gcm, other])
    assert isinstance(members, GcmMembers)
    both = {
        part: {
            name: np.concatenate([getattr(result, part)[name] for result in given], axis=-1)
            for name in getattr(given[0], part)
        }
        for part in ("tendencies", "surface")
    }
    before = members.inputs()
    result = members.step_emulated(both["tendencies"], both["surface"])
    assert members.health() == (None, None)
    after = members.inputs()
    for index, (inputs, date, step) in enumerate(alone):
        assert_close(of_member(before, index, 2), given[index].inputs)
        assert_close(of_member(result.tendencies, index, 2), given[index].tendencies)
        assert_close(of_member(after, index, 2), inputs)
        host = members.member(index)
        assert (host.date, host.step_number) == (date, step)
        assert_close(host.inputs(), inputs)
    assert not np.allclose(after["state_t"][:, :512], after["state_t"][:, 512:])


def test_one_member_on_a_cpu_is_the_host_itself(gcm):
    assert members_of([gcm]).member(0) is gcm
