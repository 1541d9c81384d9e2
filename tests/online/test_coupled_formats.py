"""A coupled run is the same with a file of every format."""

import json
import shutil

import numpy as np
import pytest
import xarray

from climsim.export.config import ExportConfig
from climsim.export.formats import FORMATS
from climsim.export.writing import run_export
from climsim.online.run import RunConfig, run_online
from climsim.runs.record import RECORD_NAME
from tests.exported_synthetic import write_checkpoint
from tests.online.toy_host import LEVELS, ToyHost

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
OF_FILE_AND_TIME = {"model", "config", "made_by", "sypd", "timing"}
OF_VALUES = {"corrections", "added", "budgets", "budget_sums"}
"""What the record says that need not be the same to the last digit."""


@pytest.fixture(scope="module")
def coupled(tmp_path_factory):
    """Couples the network of a checkpoint, exported in a format; gives the folder of the run."""
    root = tmp_path_factory.mktemp("formats")
    tiny = {"levels": LEVELS, "noise": 0.0}
    checkpoint = write_checkpoint(root / "pao_model-standard-7.ckpt", "pao_model", **tiny)

    def run(form):
        model = root / f"{checkpoint.stem}{FORMATS.find(form).suffix}"
        run_export(ExportConfig(checkpoint, model, format=form))
        config = RunConfig(case="toy", folder=root / form, days=0.5, host="toy", model=model)
        run_online(config, host=ToyHost())
        return config.folder

    return run


@pytest.fixture(scope="module")
def usual(coupled):
    return coupled("torchscript")


@pytest.mark.parametrize(
    "form", ["onnx", pytest.param("pt2", marks=[pytest.mark.slow, needs_compiler])]
)
def test_record_and_history_of_a_run_do_not_depend_on_the_format(form, coupled, usual):
    folder = coupled(form)
    names = [path.name for path in sorted(usual.glob("*.nc"))]
    assert names
    assert names == [path.name for path in sorted(folder.glob("*.nc"))]
    for name in names:
        paths = (usual / name, folder / name)
        a, b = (xarray.load_dataset(path, decode_times=False) for path in paths)
        assert set(a.variables) == set(b.variables)
        for field in a.data_vars:
            most = float(np.abs(a[field]).max())
            np.testing.assert_allclose(b[field], a[field], rtol=0, atol=1e-5 * most)
    a, b = (json.loads((run / RECORD_NAME).read_text()) for run in (usual, folder))
    assert a.keys() == b.keys()
    assert {key for key in a if a[key] != b[key]} <= OF_FILE_AND_TIME | OF_VALUES
    assert b["budgets"]["water"]["mean"] == pytest.approx(a["budgets"]["water"]["mean"], rel=1e-5)
