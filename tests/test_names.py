"""Names: what they may hold, and every place where they come in."""

import json
from pathlib import Path

import pytest
import xarray

from climsim.cards import TrainingCard
from climsim.errors import ClimSimError
from climsim.evaluation.members import member_of
from climsim.figures.config import FiguresConfig
from climsim.figures.draw import draw_figures
from climsim.hosts.e3sm.config import E3smConfig
from climsim.integrity import add_checksum
from climsim.names import as_name, check_name
from climsim.online.config import EnsembleConfig
from climsim.report.config import ReportConfig
from climsim.report.page import write_report
from climsim.results.study import Study
from climsim.runs.config import RunConfig
from climsim.training.config import NetworkConfig, RecipeConfig
from climsim.workflow.config import ExperimentConfig, Members
from tests.evaluation_synthetic import write_study

HOSTILE = (
    "/../../../X",
    "..",
    ".hidden",
    "-rf",
    "x$(id>Y)",
    "a b",
    "a;b",
    "<script>",
    "$x$",
    "é",
    "a\n",
    "a/b",
    "{member}",
    "",
)
MEMBERS = Members(("unet",), ("standard",), (7,))


def e3sm_case(name):
    folder = Path("/runs")
    return E3smConfig(name, folder, folder, "pm-gpu", "m1", purpose="mmf", reference_folder=folder)


ENTRIES = (
    ("case", lambda name: RunConfig(name, Path("run"), 1.0)),
    ("case", e3sm_case),
    ("network.name", NetworkConfig),
    ("recipe.name", RecipeConfig),
    ("members.networks", lambda name: Members((name,), ("standard",), (7,))),
    ("members.recipes", lambda name: Members(("unet",), (name,), (7,))),
    ("name", lambda name: ExperimentConfig(name, Path("study"), MEMBERS)),
)
"""What takes a name, by the key that its message names."""


@pytest.mark.parametrize("name", ["unet", "pure_resLSTM", "v6", "E3SM.F2010-MMF1", "+5K", "_", "7"])
def test_usual_names_pass(name):
    assert check_name(name, "key") == as_name(name) == name


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(("key", "entry"), ENTRIES)
def test_name_that_is_a_path_a_command_or_markup_is_refused_where_it_comes_in(key, entry, name):
    with pytest.raises(ClimSimError, match=f"^{key}: expected a name of letters.*rename it"):
        entry(name)


@pytest.mark.parametrize("key", ["network", "recipe"])
def test_model_that_gives_itself_a_name_that_is_none_is_refused(key):
    with pytest.raises(ClimSimError, match=rf"model: {key} in its metadata: expected a name"):
        member_of("model", TrainingCard(**{key: "/../../../X"}))


def test_files_give_names_whatever_they_are_called():
    assert member_of("my model (2)").label == "my_model__2_"
    assert member_of("unet-standard-7").label == "unet-standard-7"
    assert as_name(".hidden") == "_.hidden"
    config = EnsembleConfig("a", Path("runs"), 1.0, models=(Path("$(id).pt"),))
    assert [member.case for member in config.members()] == ["a-__id_"]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("names"), ("unet",), ("standard",), (7,))


def edited(path, target, **attributes):
    """Metrics whose attributes, or coordinates where they hold the name, were changed."""
    with xarray.open_dataset(path, decode_times=False, decode_timedelta=False) as stored:
        data = stored.load()
    for key, value in attributes.items():
        if key in data.attrs:
            data.attrs[key] = value
        else:
            data[key] = (data[key].dims, [f"{value}{i or ''}" for i in range(data[key].size)])
    data.to_netcdf(target)
    # Whoever smuggles a name in also makes the checksum fit.
    add_checksum(target)
    return target


@pytest.mark.parametrize("key", ["network", "recipe", "member"])
def test_name_in_offline_metrics_cannot_become_a_path_or_markup(metrics, tmp_path, key):
    path = edited(metrics[0][0], tmp_path / "edited.nc", **{key: "/../../../X"})
    out = tmp_path / "a" / "b" / "c" / "figures"
    with pytest.raises(ClimSimError, match=rf"edited\.nc: {key}: expected a name"):
        draw_figures(FiguresConfig(out, (path,)))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["edited.nc"]


@pytest.mark.parametrize("key", ["network", "recipe", "group_recipe"])
def test_name_in_online_metrics_cannot_become_a_path_or_markup(metrics, tmp_path, key):
    path = edited(metrics[1], tmp_path / "edited.nc", **{key: "<script>alert(1)</script>"})
    with pytest.raises(ClimSimError, match=rf"edited\.nc: {key}: expected a name"):
        Study.open((), path)


def test_texts_of_metrics_and_failures_are_escaped_on_the_page(metrics, tmp_path):
    script = "<script>alert(1)</script>"
    path = edited(metrics[0][0], tmp_path / "edited.nc", title=script, split=script)
    failures = tmp_path / "failures.json"
    failure = {"member": script, "stage": "train", "message": script, "log": script}
    failures.write_text(json.dumps([failure]))
    study = tmp_path / "experiment.json"
    study.write_text(json.dumps({"name": script}))
    draw_figures(FiguresConfig(tmp_path / "figures", (path,), only=("offline_profiles",)))
    out = tmp_path / "report.html"
    write_report(
        ReportConfig(
            out, (path,), figures=tmp_path / "figures", title=script, study=study, failures=failures
        )
    )
    page = out.read_text()
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    assert script not in page


def test_dollar_signs_in_figures_are_no_formulas(metrics, tmp_path):
    surface = r"$\bad$"
    path = edited(metrics[1], tmp_path / "edited.nc", region=surface, surface=surface)
    only = ("precipitation_distribution", "regional_series")
    draw_figures(FiguresConfig(tmp_path / "figures", (), path, only=only, formats=("png",)))
