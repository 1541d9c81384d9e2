"""The registry of scores: what follows from a class, and that the documentation follows too."""

from importlib import metadata

import numpy as np
import pytest
import xarray

from climsim.errors import ClimSimError
from climsim.evaluation import score as registry
from climsim.evaluation.block import OUTPUT_PAIRS, STEPS, Block, Steps
from climsim.evaluation.config import OnlineConfig
from climsim.evaluation.offline_dataset import offline_dataset
from climsim.evaluation.offline_score import SCORED_OUTPUTS, OfflineScore, accumulate
from climsim.evaluation.online import evaluate_online
from climsim.evaluation.online_score import OnlineScore, TimeMeanScore
from climsim.evaluation.score import ALL, register, score_table, scores_of
from climsim.evaluation.sums import Accumulator, Statistic, Sums
from climsim.variables import OUTPUTS
from tests import ROOT
from tests.evaluation_synthetic import write_run
from tests.grids import make_globe, make_grid

DOCS = ROOT / "docs" / "evaluation.md"
FAMILIES = {"OfflineScore": OfflineScore, "OnlineScore": OnlineScore}


@pytest.fixture
def block():
    grid = make_grid()
    rng = np.random.default_rng(2)
    shape = (3, grid.n_columns, OUTPUTS.size(grid.n_levels))
    truth = np.abs(rng.normal(0, 1e-8, shape))
    pressure = np.full(shape[:2], 9.9e4)
    return Block(grid, truth, truth + 1e-9, pressure, np.full(shape[:2], 380.0))


@pytest.fixture
def own_registry(monkeypatch):
    scores_of(OfflineScore)
    monkeypatch.setattr(registry.SCORES, "_entries", registry.SCORES.shipped())


def test_new_score_with_its_own_statistic_is_one_class(block, own_registry):
    largest = Statistic("wettest", lambda block: Steps(int((block.truth > 2e-8).sum())))

    @register
    class Wet(OfflineScore):
        """Values above a threshold."""

        name = "wet_{output}"
        long_name = "values above a threshold, {what}"
        subjects = SCORED_OUTPUTS
        statistics = (largest, OUTPUT_PAIRS)
        units = "1"
        dims = ("level",)
        weights = "none"

        def values(self, state, subject):
            return state[largest].count + 0 * state.pooled(OUTPUT_PAIRS, subject).weight

    found = offline_dataset(accumulate(block) + accumulate(block), block.grid)
    expected = 2 * int((block.truth > 2e-8).sum())
    assert found["wet_ptend_t"].dims == ("level",)
    assert found["wet_cam_out_PRECC"].dims == ()
    assert (found["wet_ptend_t"] == expected).all()
    assert found["wet_ptend_u"].attrs == {
        "units": "1",
        "long_name": "values above a threshold, physics tendency of eastward wind",
    }
    row = "| `wet_<output>` | Values above a threshold | 1 | `level` | none |"
    assert row in score_table(scores_of(OfflineScore))


def test_score_whose_data_are_not_there_is_left_out(block):
    found = offline_dataset(accumulate(block), block.grid)
    assert "r2_ptend_t" in found
    assert not [name for name in found if str(name).startswith(("crps", "confidence"))]


def test_second_score_of_a_name_is_refused(own_registry):
    (taken, *_) = (score for score in scores_of(OfflineScore) if score.name == "mae_{output}")
    with pytest.raises(ClimSimError, match=r"'mae_\{output\}': registered twice"):
        register(type(taken))


def test_score_of_an_installed_package_is_one_of_its_family(own_registry, tmp_path, monkeypatch):
    (tmp_path / "offered_scores.py").write_text(
        "from climsim.evaluation.block import OUTPUT_PAIRS\n"
        "from climsim.evaluation.offline_score import SCORED_OUTPUTS, OfflineScore\n"
        "class Offered(OfflineScore):\n"
        "    name, long_name = 'offered_{output}', 'offered, {what}'\n"
        "    subjects, statistics, weights = SCORED_OUTPUTS, (OUTPUT_PAIRS,), 'none'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    point = metadata.EntryPoint("offered", "offered_scores:Offered", "climsim.scores")
    points = metadata.EntryPoints([point])
    monkeypatch.setattr(metadata, "entry_points", lambda **which: points.select(**which))
    assert "offered_{output}" in [score.name for score in scores_of(OfflineScore)]


def test_equal_statistics_are_computed_once_and_different_ones_of_a_name_refused(block):
    calls = []
    counted = Statistic("counted", lambda block: calls.append(block) or Steps(1))
    Accumulator.of(block, [counted, STEPS, counted])
    assert len(calls) == 1
    with pytest.raises(ClimSimError, match="'counted': defined twice"):
        Accumulator.of(block, [counted, Statistic("counted", lambda block: Steps(2))])


def test_accumulator_without_sums_is_the_zero():
    part = Accumulator({"steps": Steps(2)})
    assert (Accumulator.zero() + part).sums == (part + Accumulator.zero()).sums == part.sums
    assert (part + part)[STEPS] == Steps(4)
    assert isinstance(part[STEPS], Sums)


def test_every_score_names_itself():
    scores = registry.SCORES.shipped().values()
    assert [score.name for score in scores if not score.label] == []


def test_no_two_scores_save_a_variable_of_one_name():
    names = [s.variable_of(x) for s in scores_of(OfflineScore) for x in s.subjects.members]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("family", FAMILIES)
def test_documentation_holds_the_table_of_scores(family):
    table = "\n".join(score_table(scores_of(FAMILIES[family])))
    assert f"<!-- scores: {family} -->\n\n{table}\n" in DOCS.read_text(), (
        f"the table under `scores: {family}` in docs/evaluation.md should be:\n{table}"
    )


def test_new_online_score_is_one_class_and_reads_the_field_that_it_names(own_registry, tmp_path):
    @register
    class OceanColumns(TimeMeanScore):
        """Columns of open ocean."""

        name = "ocean_columns"
        long_name = "columns of open ocean"
        subjects = ALL
        fields = ("OCNFRAC",)
        units = "1"
        weights = "none"

        def values(self, state, subject):
            return float(state.mean.run["OCNFRAC"].sum())

    grid = make_globe(longitudes=6, latitudes=5, levels=8)
    for name in ("mmf1", "unet-standard-7"):
        write_run(tmp_path / name, days=1, grid=grid)
    config = OnlineConfig((tmp_path / "unet-standard-7",), tmp_path / "mmf1", tmp_path / "o.nc")
    with xarray.open_dataset(evaluate_online(config)) as found:
        assert found["ocean_columns"].dims == ("run",)
        assert (found["ocean_columns"] > 0).all()
