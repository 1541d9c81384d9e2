"""One small exported network of every set of inputs, coupled to a host."""

import numpy as np
import pytest

from climsim.export.config import ExportConfig
from climsim.export.loading import load_emulator
from climsim.export.writing import run_export
from climsim.interfaces import ENCODINGS
from climsim.online.run import RunConfig, run_online
from climsim.runs.coupling import CouplerOptions
from tests.exported_synthetic import write_checkpoint
from tests.online.toy_host import COLUMNS, LEVELS, ToyHost

pytestmark = pytest.mark.slow
COUPLED = [name for name, row in ENCODINGS.items() if name != "v1"]
"""Those that a climate model takes."""
STEPS = 9


@pytest.fixture(scope="module", params=COUPLED)
def exported(request, tmp_path_factory):
    """Name of a set of inputs, and an exported network of it."""
    folder = tmp_path_factory.mktemp(request.param)
    tiny = {"levels": LEVELS, "noise": 0.0, "inputs": request.param}
    checkpoint = write_checkpoint(folder / "pao_model-standard-7.ckpt", "pao_model", **tiny)
    exported = ExportConfig(checkpoint=checkpoint, out=folder / "pao_model-standard-7.pt")
    return request.param, run_export(exported)


def test_exported_file_takes_what_the_host_gives(exported):
    name, path = exported
    model = load_emulator(path)
    assert model.interface == ENCODINGS[name].interface
    assert model.n_inputs == model.interface.variables.size(LEVELS)


def test_network_of_every_set_of_inputs_runs_coupled(exported, tmp_path):
    _, path = exported
    seen = []

    class Watched(ToyHost):
        def step_emulated(self, tendencies, surface):
            seen.append({key: values.copy() for key, values in tendencies.items()})
            return super().step_emulated(tendencies, surface)

    config = RunConfig(case="toy", folder=tmp_path / "run", days=STEPS / 72, host="toy", model=path)
    record = run_online(config, host=Watched())
    assert (record.status, len(seen)) == ("complete", record.sums.coupled_steps)
    assert record.sums.coupled_steps == STEPS - CouplerOptions().spinup_steps
    for tendencies in seen:
        for values in tendencies.values():
            assert values.shape == (LEVELS, COLUMNS)
            assert np.isfinite(values).all()
    assert np.abs(seen[-1]["ptend_t"]).max() > 0
