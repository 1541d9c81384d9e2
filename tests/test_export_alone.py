"""Every network under every recipe as a file on its own: only torch, and the same numbers."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import climsim
from climsim.configuration import compose_config
from climsim.export.comparison import relative_difference
from climsim.export.module import EmulationMember, build_emulation
from climsim.export.writing import export_model
from climsim.networks import NETWORKS
from climsim.training.checkpoint import describe_model, load_model, save_model
from climsim.transforms import from_statistics
from tests.physical_samples import samples, statistics_of, vector

LEVELS = 60
RECIPES = ("standard", "conf_loss", "diff_loss", "multirep", "v6")
ALONE = """
import sys
sys.modules["climsim"] = None
try:
    import climsim
except ImportError:
    pass
else:
    raise SystemExit("climsim can be imported here")
import numpy, torch
torch.set_num_threads(1)
model = torch.jit.load(sys.argv[1])
with torch.inference_mode():
    for x, y in zip(sys.argv[2::2], sys.argv[3::2]):
        numpy.save(y, model(torch.from_numpy(numpy.load(x))).numpy())
"""


def combinations():
    """All 30; each network under one recipe in the fast tests, every recipe at least once."""
    for i, name in enumerate(NETWORKS.names()):
        for k, recipe in enumerate(RECIPES):
            marks = [] if k == i % len(RECIPES) else [pytest.mark.slow]
            yield pytest.param(name, recipe, marks=marks)


@pytest.fixture(scope="module")
def statistics():
    return statistics_of(samples(LEVELS))


@pytest.fixture
def make(tmp_path, statistics):
    """Writes a checkpoint of a small network whose weights are not those of initialization."""

    def checkpoint(name, recipe, seed=7):
        settings = compose_config("train", [f"recipe={recipe}", "data.store=x", "out=y"])["recipe"]
        transforms = from_statistics(statistics, settings["inputs"], LEVELS, clip_margin=1.0)
        torch.manual_seed(seed)
        network = climsim.build_network(name, settings["inputs"], settings["confidence"], "small")
        with torch.no_grad():
            for parameter in network.parameters():
                size = max(1, parameter[0].numel()) ** 0.5
                parameter.add_(0.1 * torch.randn(parameter.shape) / size)
        about = describe_model(network.config, transforms, {}, {}, recipe=recipe, seed=seed)
        return save_model(tmp_path / f"{name}-{recipe}-{seed}.ckpt", network, transforms, about)

    return checkpoint


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_alone(path, inputs):
    """Outputs of a file for each array of inputs, from a process without the package."""
    files = []
    for i, x in enumerate(inputs):
        files += [path.with_name(f"x{i}.npy"), path.with_name(f"y{i}.npy")]
        np.save(files[-2], x)
    command = [sys.executable, "-c", ALONE, str(path), *map(str, files)]
    subprocess.run(command, check=True, cwd=path.parent)
    return [torch.from_numpy(np.load(file)) for file in files[1::2]]


def check(checkpoints, columns, tmp_path):
    """The file of these checkpoints gives the outputs of the Python modules."""
    path = export_model(tuple(checkpoints), tmp_path / "model.pt")
    models = [load_model(c) for c in checkpoints]
    confidence = models[0].confidence
    eager = build_emulation([EmulationMember(m.network, m.transforms) for m in models], confidence)
    encoding = models[0].transforms.inputs.encoding
    interface = encoding.interface.variables
    block = vector(samples(LEVELS, 384, seed=5), interface).numpy()
    inputs = [np.ascontiguousarray(np.resize(block, (n, block.shape[1]))) for n in columns]
    for x, found in zip(inputs, run_alone(path, inputs), strict=True):
        with torch.inference_mode():
            expected = eager(torch.from_numpy(x))
        assert found.shape == (len(x), 676 if confidence else 368)
        assert found.dtype == torch.float32
        assert torch.isfinite(found).all()
        assert found.abs().max() > 0
        assert relative_difference(expected, found, LEVELS) < 1e-5


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("name", "recipe"), combinations())
def test_file_gives_the_numbers_of_the_modules_without_the_package(name, recipe, make, tmp_path):
    check([make(name, recipe)], (1, 384), tmp_path)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("name", "recipe"), combinations())
def test_file_takes_the_columns_of_a_fine_grid_at_once(name, recipe, make, tmp_path):
    check([make(name, recipe)], (21_600,), tmp_path)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("recipe", "networks"),
    [
        ("standard", ("unet", "pure_resLSTM")),
        ("conf_loss", ("convnext", "convnext")),
        ("v6", ("pao_model", "encdec_lstm")),
    ],
)
def test_ensemble_of_every_interface_is_one_file(recipe, networks, make, tmp_path):
    checkpoints = [make(name, recipe, seed) for name, seed in zip(networks, (7, 43), strict=True)]
    check(checkpoints, (1, 384), tmp_path)
