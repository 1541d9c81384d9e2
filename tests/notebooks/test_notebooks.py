"""The notebooks run from end to end, on synthetic data or on their own."""

import re

import nbformat
import numpy as np
import pytest
import xarray
from nbclient import NotebookClient

from climsim.figures.registry import figure_table
from tests import ROOT
from tests.evaluation_synthetic import write_run, write_store, write_study
from tests.exported_synthetic import LEVELS, write_model

NOTEBOOKS = ROOT / "notebooks"
MEMBERS = ("pao_model-standard-7", "pao_model-standard-43")


def run(name, folder, monkeypatch):
    """Execute a notebook on the study of a folder; return its cells with what they printed."""
    monkeypatch.setenv("CLIMSIM_STUDY", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=str(NOTEBOOKS))
    return notebook.cells


def text(cells):
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return "".join(o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in outputs)


def test_metrics_are_computed_as_on_the_command_line(tmp_path, monkeypatch):
    write_store(tmp_path / "store.zarr", levels=LEVELS)
    (tmp_path / "models").mkdir()
    write_model(tmp_path / "models" / f"{MEMBERS[0]}.pt", 7)
    write_model(tmp_path / "models" / f"{MEMBERS[1]}.onnx", 43, format="onnx")
    for name, growing in (("reference", 0.0), ("reference_perturbed", 0.1), (MEMBERS[0], 1.0)):
        write_run(tmp_path / "online" / name, days=2, seed=2, growing=growing)
    printed = text(run("compute_metrics.ipynb", tmp_path, monkeypatch))
    assert "2 models, 1 coupled runs" in printed
    for member in MEMBERS:
        with xarray.open_dataset(tmp_path / "offline" / f"{member}.nc") as metrics:
            assert f"mean R² {float(metrics['r2_mean']):.3f}" in printed
    with xarray.open_dataset(tmp_path / "online.nc") as metrics:
        assert metrics["run"].values.tolist() == [MEMBERS[0], "reference", "reference_perturbed"]
        assert np.isfinite(metrics["rmse_mean_T"][0])


def test_every_figure_is_drawn_from_the_metrics(tmp_path, monkeypatch):
    offline, _ = write_study(tmp_path, ("unet", "convnext"), ("standard", "conf_loss"), (7,))
    (tmp_path / "offline").mkdir()
    for path in offline:
        path.rename(tmp_path / "offline" / path.name)
    cells = run("paper_figures.ipynb", tmp_path, monkeypatch)
    shown = re.findall(r'show\("(\w+)"\)', "".join(cell.source for cell in cells))
    assert shown == list(figure_table())
    pictures = [
        output
        for cell in cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    printed = [
        o.text for cell in cells for o in cell.get("outputs", ()) if o.get("name") == "stdout"
    ]
    lacking = [line.partition(":")[0] for lines in printed for line in lines.splitlines()]
    assert lacking == ["iterations", "ranking"]
    assert len(pictures) == len(shown) - len(lacking)


def test_tutorial_shows_a_run_that_dies_and_one_that_lives(tmp_path, monkeypatch):
    printed = text(run("tutorial.ipynb", tmp_path, monkeypatch))
    scores = re.findall(r"R2 of the heating (\S+)", printed)
    assert len(scores) == 2
    assert min(map(float, scores)) > 0.5
    assert re.search(r"^calm: unstable after", printed, re.MULTILINE)
    assert re.search(r"^stirred: complete after 4", printed, re.MULTILINE)
    calm, stirred = (float(x) for x in re.findall(r"(?:calm|stirred): (\S+) a day", printed))
    assert calm < 5 < stirred


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_is_valid_with_short_cells_and_no_path_of_a_machine(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert max(len(cell.source.splitlines()) for cell in code) <= 15
    assert not re.search(r"/(home|root|tmp|work|Users)/", text(code))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tutorial", "calm: unstable"),
        ("compute_metrics", "unet-steady-7: mean R²"),
        ("paper_figures", "offline_profiles"),
    ],
)
def test_notebook_is_kept_with_its_outputs(name, said):
    """Whoever reads it in a browser sees what it says."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert said in text(code)
    kinds = [kind for c in code for o in c.outputs for kind in o.get("data", ())]
    assert {"image/png", "text/html"} & set(kinds)
