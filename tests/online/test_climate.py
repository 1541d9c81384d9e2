"""The measured climate: aims, statistics, and the run that measures it."""

import datetime
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cftime
import numpy as np
import pytest

from climsim.constants import TIME_STEP, PhysicalConstants
from climsim.errors import ClimSimError
from climsim.figures import climate
from climsim.figures.climate_aims import Statistics, check_aims, misfits, read_statistics
from climsim.figures.climate_sums import PROFILES, Budget, Sums
from climsim.grid import ColumnGrid
from climsim.hosts.base import StepResult
from climsim.hosts.gcm import tuning
from climsim.variables import SCALARS_OUT

ROOT = Path(__file__).parents[2]


class FixedMeans:
    """Means as a run would have accumulated them."""

    count = 365 * 72

    def __init__(self, temperature, rain, tropopause, budget=None):
        self._budget = budget or Budget(0.001, 0.5, 0.3)
        self.means = {
            "mean/state_t": np.full(3, temperature),
            "mean/state_q0001": np.full(3, 0.01),
            "mean/cam_out_PRECC": np.asarray(rain),
            "mean/pbuf_LHFLX": np.asarray(84.0),
            "mean/cam_out_FLWDS": np.asarray(340.0),
            "mean/cam_out_NETSW": np.asarray(180.0),
            "tropopause": np.asarray(tropopause),
        }

    def pressure(self):
        return np.array([95.0, 218.0, 993.0])

    def mean(self, name):
        return self.means[name]

    def budget(self):
        return self._budget


def statistics(*mean):
    return Statistics(np.array(mean), np.zeros(len(mean)))


REFERENCE = {
    "state_t": statistics(250.0, 250.0, 250.0),
    "state_q0001": statistics(0.01, 0.025, 0.0095),
    "cam_out_PRECC": statistics(3.0),
    "pbuf_LHFLX": statistics(84.0),
    "cam_out_FLWDS": statistics(347.0),
    "cam_out_NETSW": statistics(162.0),
}


def test_aims_are_checked_by_difference_factor_share_and_range():
    rows = check_aims(FixedMeans(255.0, 2.7, 110.0), REFERENCE)
    # 5 K: within 8 aloft, not within 4 below; humidity a factor 2.5, 5 %; rain 10 % low; 7 and
    # 18 W/m2; then the tropopause, both budgets and the drift.
    assert [row.met for row in rows] == [True, False, *[True] * 5, False, *[True] * 4]
    assert rows[2].found == pytest.approx(2.5)
    assert rows[4].found == pytest.approx(0.1)


def test_without_a_reference_tropopause_budgets_and_drift_are_still_checked():
    rows = check_aims(FixedMeans(255.0, 2.7, 400.0, Budget(-0.02, 2.5, -1.5)), {})
    assert [row.met for row in rows] == [False] * 4
    means = FixedMeans(255.0, 2.7, 110.0)
    assert [row.met for row in check_aims(means, {})] == [True] * 4
    means.count -= 1
    assert "drift [K/year]" not in [row.aim for row in check_aims(means, {})]


class TinyHost:
    """Two equal columns of three layers."""

    source = "a tiny host"

    def __init__(self):
        half = np.array([0.1, 0.2, 0.5, 1.0])
        self.grid = ColumnGrid(
            lat=np.array([-10.0, 10.0]),
            lon=np.zeros(2),
            area=np.ones(2),
            hyam=np.zeros(3),
            hybm=0.5 * (half[1:] + half[:-1]),
            hyai=np.zeros(4),
            hybi=half,
        )
        self.constants = PhysicalConstants()
        self.steps = 0

    @property
    def date(self):
        """Beginning of the coming step."""
        return cftime.DatetimeNoLeap(1, 1, 1) + datetime.timedelta(seconds=TIME_STEP * self.steps)

    def step_physics(self):
        """Advance: it warms, and it rains more and more."""
        done = self.result(250.0 + 0.01 * self.steps, self.date, cam_out_PRECC=1e-9 * self.steps)
        self.steps += 1
        return done

    def health(self):
        """Nothing is wrong."""

    def save(self, path):
        """Write the step."""
        path.write_text(str(self.steps))

    def restore(self, path):
        """Read the step."""
        self.steps = int(path.read_text())

    def result(self, temperature, date, **fluxes):
        """A step at a temperature; fluxes not given are zero."""
        profile, column = np.zeros((3, 2)), np.zeros(2)
        inputs = dict.fromkeys(PROFILES, profile) | {
            "state_t": np.full((3, 2), temperature),
            "state_ps": np.full(2, 1e5),
            "state_pmid": np.repeat(1e5 * self.grid.hybm[:, None], 2, axis=1),
        }
        names = ("pbuf_LHFLX", "pbuf_SHFLX", "cam_in_LWUP", "pbuf_TAUX", "pbuf_SOLIN")
        inputs |= dict.fromkeys(names, column)
        given = {name: np.full(2, value) for name, value in fluxes.items()}
        top = ("FLUT", "FSNT", "CLDTOT", "CLDLOW", "CLDHGH", "PHIS", "SHFLX", "QFLX")
        surface = {name: given.pop(name, column) for name in SCALARS_OUT}
        return StepResult(date, inputs, {}, surface, dict.fromkeys(top, column) | given)


def test_budget_is_what_the_atmosphere_gained_less_what_flowed_in():
    host = TinyHost()
    sums = Sums(host)
    capacity = host.constants.dry_air_heat_capacity * 9e4 / host.constants.gravity
    begin = cftime.DatetimeNoLeap(1, 1, 31, 23, 40)
    # 100 W/m2 for one step would warm the column by this; it warms twice as much.
    warming = 100.0 * TIME_STEP / capacity
    rain = 1e-8
    sums.add(host.result(250.0, begin, FSNT=100.0, cam_out_PRECC=rain))
    after = begin + datetime.timedelta(seconds=TIME_STEP)
    sums.add(host.result(250.0 + 2.0 * warming, after, FSNT=1e6))
    budget = sums.budget()
    assert budget.energy == pytest.approx(100.0)
    assert budget.water == pytest.approx(rain * 1000.0 * 86400.0)
    assert budget.drift == pytest.approx(2.0 * warming * 365 * 72)
    assert {k: float(v) for k, v in sums.months("FSNT").items()} == {1: 100.0, 2: 1e6}


def test_a_run_killed_between_state_and_means_ends_as_an_undisturbed_one(tmp_path, monkeypatch):
    whole = climate.ClimateConfig(out=tmp_path / "whole", days=3, checkpoint_days=1)
    expected = climate.run_climate(whole, host=TinyHost()).read_text()
    killed = replace(whole, out=tmp_path / "killed")
    write, calls = Sums.write, []

    def dies_at_the_second(self, path):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        write(self, path)

    monkeypatch.setattr(Sums, "write", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        climate.run_climate(killed, host=TinyHost())
    found = climate.run_climate(killed, host=TinyHost()).read_text()
    assert [line for line in found.splitlines() if line.startswith("|")] == [
        line for line in expected.splitlines() if line.startswith("|")
    ]


def test_a_second_process_in_the_folder_is_refused(tmp_path):
    config = climate.ClimateConfig(out=tmp_path, days=1)

    class Nosy(TinyHost):
        def step_physics(self):
            climate.run_climate(config, host=TinyHost())

    with pytest.raises(ClimSimError, match="another process measures this climate"):
        climate.run_climate(config, host=Nosy())


def test_tropical_tropopause_is_a_mean_over_columns_that_have_one():
    host = TinyHost()
    given = host.result(250.0, host.date).inputs
    # Of three levels one can count: it is stable in the first column alone.
    mixed = 300.0 * host.grid.hybm ** (2 / 7)
    one, none = np.stack([np.full(3, 250.0), mixed], axis=1), np.stack([mixed, mixed], axis=1)
    sums = Sums(host)
    assert sums._tropopause({**given, "state_t": one}) == pytest.approx(350.0)
    assert np.isnan(sums._tropopause({**given, "state_t": none}))


def test_a_missed_aim_is_an_error_behind_the_gate_and_the_table_is_still_written(tmp_path):
    config = climate.ClimateConfig(out=tmp_path / "c", days=1, gate=True)
    with pytest.raises(ClimSimError, match=r"climate\.md: 3 of 3 aims missed: tropical tropopause"):
        climate.run_climate(config, host=TinyHost())
    assert "| tropical tropopause [hPa] | 80 to 150 |" in (tmp_path / "c/climate.md").read_text()


def test_means_of_other_settings_are_not_continued(tmp_path):
    host = TinyHost()
    sums = Sums(host)
    sums.add(host.result(250.0, cftime.DatetimeNoLeap(1, 1, 1)))
    sums.write(tmp_path / "means.npz")
    again = Sums(host)
    again.read(tmp_path / "means.npz")
    assert again.count == 1
    np.testing.assert_array_equal(again.sums["stock/first"], sums.sums["stock/first"])
    host.source = "another tuning"
    with pytest.raises(ClimSimError, match=r"expected means of another tuning, found .* tiny host"):
        Sums(host).read(tmp_path / "means.npz")


def test_statistics_are_read_in_the_order_of_levels(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text(
        "file,variable,level,mean,std\n"
        "mli,state_t,2,210,5\nmli,state_t,1,200,4\nmlo,x,,1,2\nmlo,y,,,\n"
    )
    read = read_statistics(path)
    np.testing.assert_array_equal(read["state_t"].mean, [200.0, 210.0])
    assert read["x"].std[0] == 2.0
    assert np.isnan(read["y"].mean[0])


def test_missing_statistics_are_named_before_anything_runs(tmp_path):
    config = climate.ClimateConfig(out=tmp_path / "made", reference=tmp_path / "none.csv")
    with pytest.raises(ClimSimError, match=r"reference: .*none\.csv: no such file"):
        climate.run_climate(config)
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
def test_a_day_gives_table_means_and_figure_and_continues(gcm, tmp_path, shared):
    reference = shared / "reference_data" / "e3sm_mmf_statistics.csv"
    config = climate.ClimateConfig(out=tmp_path, days=1, reference=reference, checkpoint_days=1)
    table = climate.run_climate(config, host=gcm).read_text()
    assert "| pbuf_LHFLX |" in table
    assert "tropical tropopause" in table
    assert (tmp_path / "climate.png").stat().st_size > 1000
    before = (tmp_path / "means.npz").read_bytes()
    gate = replace(config, gate=True)
    with pytest.raises(ClimSimError, match=r"climate\.md: \d+ of 11 aims missed: "):
        climate.run_climate(gate, host=gcm)
    assert (tmp_path / "means.npz").read_bytes() == before


def test_statistics_of_a_variable_in_both_files_of_a_step_are_those_before_physics(tmp_path):
    path = tmp_path / "statistics.csv"
    lines = ["file,variable,level,mean,std", "mli,state_t,0,200,1", "mli,state_t,1,280,2"]
    path.write_text("\n".join([*lines, "mlo,state_t,0,201,3", "mlo,state_t,1,281,4"]))
    found = read_statistics(path)["state_t"]
    assert found.mean.tolist() == [200.0, 280.0]
    assert found.std.tolist() == [1.0, 2.0]


@pytest.fixture(scope="module")
def search():
    """The names of the script that searches for a tuning."""
    return SimpleNamespace(**runpy.run_path(str(ROOT / "scripts" / "climate_search.py")))


def test_the_search_has_an_orthogonal_design_with_a_column_for_each_parameter(search):
    design = search.design()
    assert design.shape == (24, 23)
    np.testing.assert_array_equal(design.T @ design, 24 * np.eye(23))
    np.testing.assert_array_equal(design.sum(axis=0), 0)
    assert len(search.RANGES) <= design.shape[1]


def test_the_search_tunes_known_parameters_and_finds_values_between_low_and_high(search):
    names = [name for name in search.RANGES if name != "diffusion_hours"]
    tuning.scheme_parameters(dict.fromkeys(names, 1.0))
    low, high = (search.decoded(np.full(len(search.RANGES), place)) for place in (-1.0, 1.0))
    assert low == pytest.approx({name: span[0] for name, span in search.RANGES.items()})
    assert high == pytest.approx({name: span[1] for name, span in search.RANGES.items()})
    places = np.random.default_rng(2).uniform(-1, 1, len(search.RANGES))
    np.testing.assert_allclose(search.coded(search.decoded(places)), places)


def test_the_search_recovers_linear_effects_and_stays_where_moving_does_not_pay(search):
    count = len(search.RANGES)
    control = np.linspace(-0.3, 0.3, count)
    places = np.vstack([control, search.design()[:, :count]])
    effects = np.zeros((count, 2))
    effects[3], effects[5, 1] = (-0.6, 0.2), 0.05
    found = np.array([1.0, -0.2]) + places @ effects
    model = search.fit(places, found)
    np.testing.assert_allclose(model.effects, effects, atol=1e-12)
    np.testing.assert_allclose(model.expected(places[7]), found[7])
    cheap, dear = (search.candidate(model, penalty) for penalty in (0.005, 10.0))
    assert cheap[3] == pytest.approx(1.0)
    np.testing.assert_array_equal(np.delete(cheap, [3, 5]), np.delete(control, [3, 5]))
    np.testing.assert_array_equal(dear, control)
    text = search.effects_table(model, ["warmth", "rain"])
    name = list(search.RANGES)[3]
    assert text.splitlines()[-1] == f"| {name} | -0.60 | +0.20 |"
    assert len(text.splitlines()) == 4


class FixedMembers:
    """Two sets of parameters with one start; each day is a degree warmer."""

    def __init__(self, names):
        self.sets, self.day = tuple(dict.fromkeys(names, 1.0 + n) for n in range(2)), 0

    def run(self, steps):
        """A day."""
        self.day += 1
        return {"state_t": np.full((2, 1), 250.0 + self.day)}


def test_the_search_stores_every_day_and_takes_means_over_the_second_half(search, tmp_path):
    path = tmp_path / "stage.npz"
    means = search.run_stage(FixedMembers(search.RANGES), 5, path)
    np.testing.assert_array_equal(means["state_t"], np.full((2, 1), 254.0))
    with np.load(path) as stored:
        assert stored["state_t"].shape == (5, 2, 1)
        np.testing.assert_array_equal(stored["set/clouds.crt"], [1.0, 2.0])


@pytest.mark.parametrize("words", ["--sets 1", "--sets 26", "--days 0", "--starts none.npz"])
def test_the_search_refuses_what_it_cannot_run_before_it_begins(search, tmp_path, capsys, words):
    reference = tmp_path / "s.csv"
    reference.write_text("variable,level,mean,std\n")
    with pytest.raises(SystemExit):
        search.parsed([str(tmp_path), "--reference", str(reference), *words.split()])
    assert words.split()[-1] in capsys.readouterr().err


def test_misfit_counts_in_limits_of_the_aims_with_its_sign():
    means = {
        "state_t": np.array([[258.0, 242.0, 248.0]]),
        "state_q0001": np.array([[1.0, 0.025 / 3.0, 0.0095 * 1.06]]),
        "cam_out_PRECC": np.array([3.0 * 0.7]),
        "pbuf_LHFLX": np.array([84.0 * 1.15]),
        "cam_out_FLWDS": np.array([341.0]),
        "cam_out_NETSW": np.array([162.0]),
    }
    found = misfits(means, np.array([95.0, 218.0, 993.0]), REFERENCE)
    assert {name: values.item() for name, values in found.items()} == pytest.approx(
        {
            "state_t 95 hPa": 1.0,
            "state_t 218 hPa": -1.0,
            "state_t 993 hPa": -0.5,
            "state_q0001 218 hPa": -1.0,
            "state_q0001 993 hPa": 0.5,
            "cam_out_PRECC": -2.0,
            "pbuf_LHFLX": 1.0,
            "cam_out_FLWDS": -0.5,
            "cam_out_NETSW": 0.0,
        }
    )
