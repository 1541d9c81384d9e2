"""How models answer to noise: rates that are known, memory that comes back, file and table."""

from dataclasses import replace

import numpy as np
import pytest
import xarray

from climsim.cards import ModelCard
from climsim.errors import ClimSimError
from climsim.figures.damping import damping_lines, evaluate_damping
from climsim.interfaces import V2, V6
from climsim.online import damping as damping_module
from climsim.online.damping import PHYSICS, DampingConfig, _Projection
from climsim.variables import OUTPUTS

from .toy_host import LEVELS, ToyHost

PER_DAY = np.array([0.5, 1.0, 4.0, 2.0, -3.0])
"""Rates at which the model below relaxes temperature, by level [1/day]."""


class Relaxing:
    """Relaxes temperature by level and u by 6 a day; gives back parts of what it remembers."""

    n_levels, confidence = LEVELS, False

    def __init__(self, interface=V2):
        self.interface, self.card = interface, ModelCard()

    def __call__(self, vector):
        vector = np.asarray(vector, np.float64)
        given, there = self.interface.variables.slices(LEVELS), OUTPUTS.slices(LEVELS)
        output = np.zeros((len(vector), OUTPUTS.size(LEVELS)))
        output[:, there["ptend_t"]] = PER_DAY / 86400 * (250.0 - vector[:, given["state_t"]])
        output[:, there["ptend_u"]] = -6.0 / 86400 * vector[:, given["state_u"]]
        if self.interface is V6:
            back = np.where(np.arange(LEVELS) == 4, 1.5, 0.25)
            output[:, there["ptend_t"]] += back * vector[:, given["state_t_prvphy"]]
            output[:, there["ptend_u"]] += 0.75 * vector[:, given["state_u_prvphy"]]
        return output


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """The file of a model without and of one with memory, on the toy host."""
    models = {"plain": Relaxing(), "mindful": Relaxing(V6)}
    for name in models:
        (tmp_path / f"{name}.pt").write_bytes(b"a model")
    monkeypatch.setattr(damping_module, "open_model", lambda path, *arguments: models[path.stem])
    paths = tuple(tmp_path / f"{name}.pt" for name in models)
    config = DampingConfig(paths, tmp_path / "damping.nc", lowest=4, draws=40, host="toy")
    return evaluate_damping(config, host=ToyHost())


def test_rates_of_physics_and_of_a_model_are_those_they_relax_with(measured):
    with xarray.open_dataset(measured) as found:
        assert list(found["model"].values) == [PHYSICS, "plain", "mindful"]
        physics, plain = found.sel(model=PHYSICS), found.sel(model="plain")
        np.testing.assert_allclose(physics["damping_t"], 24 / 30, rtol=1e-6)
        np.testing.assert_allclose(physics["damping_q"], 24 / 200, rtol=1e-6)
        assert 24 / 90 < float(physics["smoothing_wind"]) < 24 / 80
        np.testing.assert_allclose(plain["damping_t"], PER_DAY, rtol=1e-3)
        np.testing.assert_allclose(plain["damping_q"], 0.0, atol=1e-9)
        assert 2.0 < float(plain["smoothing_wind"]) < 4.0
        assert found["damping_t"].units == "day-1"
        assert found.sizes == {"model": 3, "level": LEVELS}


def test_share_of_the_memory_that_comes_back_is_found_by_level(measured):
    with xarray.open_dataset(measured) as found:
        np.testing.assert_allclose(
            found["returned_t"].sel(model="mindful"), [0.25, 0.25, 0.25, 0.25, 1.5], rtol=1e-3
        )
        assert np.isnan(found["returned_t"].sel(model="plain")).all()


def test_table_names_every_model_and_the_largest_return(measured):
    heading, columns, physics, plain, mindful = damping_lines(measured)
    assert "lowest 4 levels" in heading
    assert columns.split() == ["T", "q", "winds"]
    assert physics.startswith(PHYSICS)
    assert float(physics.split()[2]) == pytest.approx(0.8)
    assert "gives back" not in plain
    assert mindful.endswith("gives back 1.50 of t, level 4")
    assert measured.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_smoothing_is_blind_to_what_is_straight_in_level():
    noise = np.random.default_rng(0).normal(size=(20, 3))
    sums = _Projection(np.array([1.0, 2.0, 0.5]), lowest=16)
    slope = np.linspace(0.0, 1.0, 20)[:, None]
    sums.add(noise, -noise / (2 * 86400) + slope)
    assert sums.smoothing == pytest.approx(0.5, rel=1e-9)


def test_noise_on_the_memory_is_repeated_by_its_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(damping_module, "open_model", lambda *arguments: Relaxing(V6))
    (tmp_path / "a.pt").touch()
    config = DampingConfig((tmp_path / "a.pt",), tmp_path / "a.nc", draws=1, lowest=4, host="toy")
    first, again = (
        damping_module.measure_damping(config, host=ToyHost())[0]["a"] for _ in range(2)
    )
    np.testing.assert_array_equal(first.returned["t"], again.returned["t"])
    np.testing.assert_array_equal(first.rates["wind"], again.rates["wind"])


def test_models_of_one_name_are_refused(tmp_path):
    with pytest.raises(ClimSimError, match=r"models: expected files of different names"):
        DampingConfig((tmp_path / "a/m.pt", tmp_path / "b/m.pt"), tmp_path / "x.nc")


def test_figure_beside_the_rates_replaces_no_picture_of_the_user(tmp_path, measured):
    config = DampingConfig((tmp_path / "plain.pt",), tmp_path / "mine.nc", lowest=4, host="toy")
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"my own picture")
    with pytest.raises(ClimSimError, match=r"mine\.png: .* not a figure of damping rates"):
        evaluate_damping(config, host=ToyHost())
    assert mine.read_bytes() == b"my own picture"
    with pytest.raises(ClimSimError, match=r"^out: expected another ending, found '.*mine\.png'"):
        evaluate_damping(replace(config, out=mine), host=ToyHost())
    with pytest.raises(ClimSimError, match=r"^models: expected files of different names, .*rename"):
        (tmp_path / "other").mkdir()
        replace(config, models=(tmp_path / "plain.pt", tmp_path / "other" / "plain.pt"))
