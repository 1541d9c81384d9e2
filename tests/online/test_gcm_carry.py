"""The carry that the embedded model starts with is made once for each code and options."""

import numpy as np
import pytest

from climsim.hosts.gcm import carry
from climsim.hosts.gcm.carry import fresh_carry
from climsim.hosts.gcm.config import GcmConfig

OPTIONS = {"resolution": "T10", "tuning": {"a.b": 1.0}}


class FakeModel:
    """Makes a carry of its own each time, and counts how often."""

    def __init__(self):
        self.calls = 0

    def initial_physics_carry(self):
        self.calls += 1
        return {"count": np.int32(self.calls), "radiation": {"flux": np.zeros((2, 3), np.float32)}}


@pytest.fixture
def model():
    return FakeModel()


@pytest.fixture
def kept(model, tmp_path):
    fresh_carry(model, OPTIONS, tmp_path)
    (path,) = tmp_path.iterdir()
    return path


def test_second_process_reads_what_the_first_made(model, kept):
    again = fresh_carry(FakeModel(), OPTIONS, kept.parent)
    assert again["count"] == 1
    np.testing.assert_array_equal(again["radiation"]["flux"], np.zeros((2, 3)))
    assert again["radiation"]["flux"].dtype == np.float32


def test_other_options_have_a_carry_of_their_own(model, kept):
    other = fresh_carry(model, OPTIONS | {"resolution": "T21"}, kept.parent)
    assert other["count"] == 2
    assert len(list(kept.parent.iterdir())) == 2


def test_carry_of_other_code_is_made_anew_in_its_place(model, kept, monkeypatch):
    monkeypatch.setattr(carry, "environment", lambda: {"jcm": "0"})
    assert fresh_carry(model, OPTIONS, kept.parent)["count"] == 2
    assert fresh_carry(model, OPTIONS, kept.parent)["count"] == 2
    assert list(kept.parent.iterdir()) == [kept]


@pytest.mark.parametrize("size", [0, 40, -1])
def test_damaged_carry_is_made_anew(model, kept, size):
    kept.write_bytes(kept.read_bytes()[:size])
    assert fresh_carry(model, OPTIONS, kept.parent)["count"] == 2
    assert fresh_carry(FakeModel(), OPTIONS, kept.parent)["count"] == 2


def test_folder_that_cannot_be_written_stops_nothing(model, tmp_path):
    (tmp_path / "file").touch()
    assert fresh_carry(model, OPTIONS, tmp_path / "file" / "below")["count"] == 1


def test_options_name_all_that_the_physics_and_the_grid_are_made_of():
    made_of = GcmConfig(radiation_interval=1200.0, tuning={"convection.entrpen": 2e-4}).made_of()
    assert made_of["radiation_interval"] == 1200.0
    assert made_of["tuning"] == {"convection.entrpen": 2e-4}
    assert {"resolution", "advection", "radiation", "retain_turbulence"} <= made_of.keys()


@pytest.mark.slow
def test_kept_carry_is_that_of_the_model(gcm_session):
    import jax

    host, _ = gcm_session
    config = host.config
    kept = fresh_carry(host.core.model, config.made_of(), config.cache_folder)
    fresh = host.core.model.initial_physics_carry()
    assert jax.tree.structure(kept) == jax.tree.structure(fresh)
    for one, other in zip(jax.tree.leaves(kept), jax.tree.leaves(fresh), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
