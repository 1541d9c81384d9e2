"""How novel the inputs of a column are."""

from dataclasses import replace

import numpy as np
import pytest

from climsim.data.statistics.statistics import Statistics, VariableStatistics
from climsim.errors import ClimSimError
from climsim.interfaces import V2, V6
from climsim.online.coupler import couple
from climsim.online.novelty import Novelty
from climsim.online.run import RunConfig, run_online
from climsim.runs.coupling import CouplerOptions
from climsim.variables import variable

from ..physical_samples import samples, statistics_of
from .one_file_host import LEVELS as ROOM_LEVELS
from .test_coupler import DT, air, output, state
from .test_ensemble import HOST, model

LEVELS = 24
V2_NAMES = V2.variables.names


@pytest.fixture(scope="module")
def data():
    return samples(LEVELS)


def test_its_mean_over_the_training_data_is_one(data):
    statistics = statistics_of(data)
    fields = [np.atleast_2d(data[name].T).T for name in V2.variables.names]
    vector = np.concatenate(fields, axis=1)
    assert Novelty.of(statistics, V2, LEVELS)(vector).mean() == pytest.approx(1.0, rel=1e-5)


def test_it_is_the_mean_square_of_distances_in_standard_deviations():
    novelty = Novelty(mean=np.array([1.0, 2.0, 5.0]), std=np.array([2.0, 0.5, 0.0]))
    found = novelty(np.array([[1.0, 2.0, 5.0], [5.0, 2.0, 9.0], [1.0, 1.0, 5.0]]))
    np.testing.assert_allclose(found, [0.0, (2.0**2) / 2, (2.0**2) / 2])


def test_physics_takes_novel_columns_over():
    options = CouplerOptions(
        strato_water=False, positivity=False, top_levels=0,
        mixing="novelty", mixing_low=1.0, mixing_high=3.0, mixing_statistics="x.nc",
    )  # fmt: skip
    arguments = (output(profiles=1.0), state(), air(state()), options, 0, output(profiles=5.0), DT)
    result = couple(*arguments, novelty=np.array([0.5, 2.0, 7.0]))
    np.testing.assert_allclose(result.tendencies["ptend_u"][0], [1.0, 3.0, 5.0])


def test_statistics_of_other_levels_or_without_an_input_are_refused(tmp_path):
    rows = {name: np.ones((10, 2, LEVELS if variable(name).profile else 1)) for name in V2_NAMES}
    known = {name: summary(values) for name, values in rows.items()}
    Statistics(known, LEVELS, "train", "x").save(tmp_path / "statistics.nc")
    found = Novelty.from_file(tmp_path / "statistics.nc", V2, LEVELS)
    np.testing.assert_array_equal(found.mean, np.ones(V2.variables.size(LEVELS)))
    with pytest.raises(ClimSimError, match=r"expected statistics on 60 levels.*found 24"):
        Novelty.from_file(tmp_path / "statistics.nc", V2, 60)
    with pytest.raises(ClimSimError, match=r"of the interface v6, found no state_t_dyn"):
        Novelty.from_file(tmp_path / "statistics.nc", V6, LEVELS)


def test_run_whose_statistics_were_computed_anew_is_not_continued(tmp_path, monkeypatch):
    """The share of the network would follow another rule from then on."""
    one = np.ones(V2.variables.size(ROOM_LEVELS))
    monkeypatch.setattr(Novelty, "from_file", lambda *arguments: Novelty(mean=one, std=one))
    path = tmp_path / "statistics.nc"
    path.write_text("of one store")
    options = CouplerOptions(
        mixing="novelty", mixing_low=1.0, mixing_high=3.0, mixing_statistics=str(path)
    )
    config = RunConfig(
        "a", tmp_path / "a", 0.1, host=HOST, model=model(tmp_path, "warm", 1e-6), coupler=options
    )
    run_online(config)
    path.write_text("of another store")
    with pytest.raises(ClimSimError, match=r"a run of another version of .*statistics\.nc"):
        run_online(replace(config, days=0.2))
    path.unlink()
    assert run_online(config).status == "complete"
    with pytest.raises(ClimSimError, match=r"coupler\.mixing_statistics: .*no such file"):
        run_online(replace(config, folder=tmp_path / "b"))


def summary(values):
    """Statistics of one variable, of (time, column, level) values."""
    level = values.reshape(-1, values.shape[-1])
    shape = level.mean(0) if level.shape[1] > 1 else level.mean()
    one = np.asarray(shape)
    return VariableStatistics(
        count=0 * one + level.shape[0], mean=one, std=0 * one, min=one, max=one,
        column_mean=1.0, column_std=0.0, positive_mean=one * np.nan, quantiles=np.empty(0),
    )  # fmt: skip
