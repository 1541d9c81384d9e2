"""Exported files in compiled code: C++ with the wheel's libtorch, Fortran with FTorch.

Of ONNX Runtime the wheel brings the library without its headers: set ``ONNXRuntime_ROOT`` to a
folder with ``include`` and ``lib``, a release or one that ``scripts/onnxruntime_root.sh`` made.
"""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from climsim.export.formats import FORMATS
from climsim.export.loading import load_emulator
from climsim.export.writing import export_model
from climsim.networks import NETWORKS, build_network
from climsim.training.checkpoint import describe_model, save_model
from climsim.transforms import from_statistics
from tests import ROOT
from tests.physical_samples import samples, statistics_of

COLUMNS, LEVELS = 96, 60
FLOAT_BYTES = 4
FTORCH, ONNXRUNTIME = "FTorch_ROOT", "ONNXRuntime_ROOT"
"""Environment variables that name what is not on the package index."""

pytestmark = pytest.mark.slow


def command(*parts):
    """Run a command; its output, or a failure that shows it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [str(p) for p in parts], capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build(source, folder, *prefixes):
    prefix = ";".join([*map(str, prefixes), torch.utils.cmake_prefix_path])
    command("cmake", "-S", source, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}")
    command("cmake", "--build", folder)
    return folder


@pytest.fixture(scope="module")
def libtorch(tmp_path_factory):
    """The folder of the C++ programs, built once."""
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    return build(ROOT / "fortran" / "libtorch", tmp_path_factory.mktemp("libtorch"))


@pytest.fixture
def with_libtorch(libtorch):
    """The C++ program for TorchScript files."""
    return libtorch / "run_columns"


@pytest.fixture
def with_inductor(libtorch):
    """The C++ program for AOTInductor packages."""
    return libtorch / "run_package"


@pytest.fixture(scope="module")
def with_onnxruntime(tmp_path_factory):
    """The C++ program for ONNX files, built once where ONNX Runtime is."""
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if ONNXRUNTIME not in os.environ:
        pytest.skip("ONNX Runtime is not there: see scripts/onnxruntime_root.sh")
    source = ROOT / "fortran" / "onnxruntime"
    folder = build(source, tmp_path_factory.mktemp("onnxruntime"), os.environ[ONNXRUNTIME])
    return folder / "run_onnx"


@pytest.fixture(scope="module")
def with_ftorch(tmp_path_factory):
    """The Fortran program, built once where FTorch is."""
    for tool in ("cmake", "gfortran"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if FTORCH not in os.environ:
        pytest.skip(f"FTorch is not there: set {FTORCH} to its install folder")
    folder = tmp_path_factory.mktemp("ftorch")
    return build(ROOT / "fortran", folder, os.environ[FTORCH]) / "run_columns"


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Writes the exported file of a small network and columns with Python's outputs."""
    statistics = statistics_of(samples(LEVELS))
    folder = tmp_path_factory.mktemp("models")

    def write(name, inputs="standard", confidence=False, form="torchscript"):
        stem = folder / f"{name}-{inputs}-{confidence}-{form}"
        model, columns = stem.with_suffix(FORMATS.find(form).suffix), stem.with_suffix(".bin")
        if not columns.exists():
            torch.manual_seed(5)
            network = build_network(name, inputs, confidence, "small", LEVELS)
            transforms = from_statistics(statistics, inputs, LEVELS, clip_margin=1.0)
            about = describe_model(network.config, transforms, {}, {}, statistics)
            checkpoint = save_model(stem.with_suffix(".ckpt"), network, transforms, about)
            export_model(checkpoint, model, format=form)
            command(sys.executable, ROOT / "fortran" / "write_columns.py", model, columns, COLUMNS)
        return model, columns

    return write


def largest_difference(text):
    (line,) = [line for line in text.splitlines() if line.startswith("largest")]
    return float(line.split()[-1])


@pytest.mark.parametrize("name", NETWORKS.names())
def test_every_network_gives_equal_values_in_cpp(name, with_libtorch, export):
    text = command(with_libtorch, *export(name), 1)
    assert f"columns {COLUMNS}, inputs 557, outputs 368" in text
    assert largest_difference(text) < 1e-5


@pytest.mark.parametrize(
    ("inputs", "confidence", "sizes"),
    [
        ("expanded", False, (1519, 368)),
        ("multirep", False, (557, 368)),
        ("standard", True, (557, 676)),
    ],
)
def test_every_interface_gives_equal_values_in_cpp(
    inputs, confidence, sizes, with_libtorch, export
):
    text = command(with_libtorch, *export("unet", inputs, confidence), 1)
    assert "inputs {}, outputs {}".format(*sizes) in text
    assert largest_difference(text) < 1e-5


@pytest.mark.parametrize("name", NETWORKS.names())
def test_every_network_gives_equal_values_in_fortran(name, with_ftorch, export):
    text = command(with_ftorch, *export(name), 1)
    assert f"columns {COLUMNS}, inputs 557, outputs 368" in text
    assert largest_difference(text) < 1e-5


def test_package_gives_equal_values_in_cpp(with_inductor, export):
    # Compiling this network takes a tenth of the time of the U-Net.
    text = command(with_inductor, *export("squeezeformer", form="pt2"), 1)
    assert f"columns {COLUMNS}, inputs 557, outputs 368" in text
    assert largest_difference(text) < 1e-5


@pytest.mark.parametrize("name", NETWORKS.names())
def test_graph_gives_equal_values_in_cpp(name, with_onnxruntime, export):
    text = command(with_onnxruntime, *export(name, form="onnx"), 1)
    assert f"columns {COLUMNS}, inputs 557, outputs 368" in text
    assert largest_difference(text) < 1e-5


def test_values_that_differ_are_found_out(with_libtorch, export, tmp_path):
    model, columns = export("unet")
    data = np.fromfile(columns, dtype=np.float32)
    data[-3 * COLUMNS] *= 1.001
    data.tofile(tmp_path / "other.bin")
    result = subprocess.run(
        [with_libtorch, model, tmp_path / "other.bin", "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert "differs from Python" in result.stderr


def test_columns_lie_in_the_order_of_fortran(export):
    model, columns = export("unet")
    emulator = load_emulator(model)
    sizes = np.fromfile(columns, dtype=np.int32, count=3)
    np.testing.assert_array_equal(sizes, [COLUMNS, 557, 368])
    values = np.fromfile(columns, dtype=np.float32, offset=3 * FLOAT_BYTES)
    inputs = values[: COLUMNS * 557].reshape(557, COLUMNS).T
    outputs = values[COLUMNS * 557 :].reshape(368, COLUMNS).T
    np.testing.assert_allclose(emulator(np.ascontiguousarray(inputs)), outputs, rtol=1e-5)
