"""Models at the seam of the run loop: made elsewhere, with the wrong door, of other levels."""

import json

import numpy as np
import pytest
import torch

from climsim.errors import ClimSimError
from climsim.online.model import non_finite, open_model
from climsim.online.run import RunConfig, run_online
from climsim.variables import DOOR_OUTPUTS, DOOR_V2, DOOR_V6

from .toy_host import COLUMNS, LEVELS, ToyHost, toy_grid


class Damping(torch.nn.Module):
    """Made without this project: relaxes temperature to 250 K, leaves the rest alone."""

    def __init__(self, levels: int, outputs: int):
        super().__init__()
        self.levels: int = levels
        self.outputs: int = outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = torch.zeros(x.shape[0], self.outputs)
        result[:, : self.levels] = (250.0 - x[:, : self.levels]) / 1.0e6
        return result


class Wide(torch.nn.Module):
    """Fits an input of one width only."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.linear = torch.nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


def save(path, module, metadata=None):
    extra = {} if metadata is None else {"metadata.json": json.dumps(metadata)}
    torch.jit.save(torch.jit.script(module.eval()), str(path), _extra_files=extra)
    return path


def toy_metadata(**changes):
    return {
        "door": "v2",
        "confidence": False,
        "n_levels": LEVELS,
        "n_inputs": DOOR_V2.size(LEVELS),
        "n_outputs": DOOR_OUTPUTS.size(LEVELS),
    } | changes


def run(folder, model):
    config = RunConfig(case="toy", folder=folder, days=0.25, host="toy", model=model)
    return run_online(config, host=ToyHost())


def test_file_with_a_known_door_runs(tmp_path):
    path = save(tmp_path / "m.pt", Damping(LEVELS, DOOR_OUTPUTS.size(LEVELS)), toy_metadata())
    record = run(tmp_path / "run", path)
    assert (record.status, record.coupled_steps) == ("complete", 13)
    assert record.model == str(path)
    assert str(path) in record.made_by["input_hashes"]


def test_same_file_of_another_content_is_another_run(tmp_path):
    path = save(tmp_path / "m.pt", Damping(LEVELS, DOOR_OUTPUTS.size(LEVELS)), toy_metadata())
    run(tmp_path / "run", path)
    save(path, Damping(LEVELS, DOOR_OUTPUTS.size(LEVELS)), toy_metadata(note="trained longer"))
    with pytest.raises(ClimSimError, match="another version of"):
        run(tmp_path / "run", path)


@pytest.mark.parametrize("door", [DOOR_V2, DOOR_V6])
def test_door_of_a_file_without_metadata_follows_from_its_input(tmp_path, door):
    path = save(tmp_path / "m.pt", Wide(door.size(), DOOR_OUTPUTS.size()))
    with pytest.raises(ClimSimError, match=r"expected a model of 5 levels.*found 60"):
        open_model(path, toy_grid())


@pytest.mark.parametrize(
    ("module", "metadata", "message"),
    [
        (Wide(124, 368), None, "557 or 1519 inputs to 368"),
        (Wide(557, 308), None, "557 or 1519 inputs to 368"),
        (Wide(62, 37), toy_metadata(), "expected door v2 at 5 levels"),
        (Wide(63, 38), toy_metadata(), "expected door v2 at 5 levels"),
        (Wide(62, 38), toy_metadata(door="v9"), "expected a model with the door"),
    ],
)
def test_model_that_does_not_fit_is_refused_in_one_line(tmp_path, module, metadata, message):
    path = save(tmp_path / "m.pt", module, metadata)
    with pytest.raises(ClimSimError, match=message) as caught:
        run(tmp_path / "run", path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_truncated_file_is_refused(tmp_path):
    path = save(tmp_path / "m.pt", Wide(62, 38), toy_metadata())
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ClimSimError, match=r"m\.pt: expected a TorchScript file"):
        run(tmp_path / "run", path)


def test_network_threads_do_not_compete_with_the_host(tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        open_model(save(tmp_path / "m.pt", Wide(62, 38), toy_metadata()), toy_grid())
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_named(tmp_path):
    path = save(tmp_path / "m.pt", Wide(62, 38), toy_metadata())
    assert open_model(path, toy_grid(), "auto").device == "cpu"
    with pytest.raises(ClimSimError, match="found no GPU"):
        open_model(path, toy_grid(), "cuda")


def test_value_that_is_no_number_is_found_with_its_place():
    output = np.zeros((COLUMNS, DOOR_OUTPUTS.size(LEVELS)), dtype=np.float32)
    assert non_finite(output, toy_grid()) is None
    output[3, 4 * LEVELS + 2] = np.inf
    found = non_finite(output, toy_grid())
    assert (found.variable, found.column, found.level) == ("ptend_u", 3, 2)
    output[2, 6 * LEVELS + 3] = np.nan
    found = non_finite(output, toy_grid())
    assert (found.variable, found.column, found.level) == ("cam_out_PRECC", 2, None)
