"""Exported files of every format: one set of numbers, one card, and one line for what is wrong."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray

import climsim
from climsim.errors import ClimSimError
from climsim.evaluation.config import OfflineConfig
from climsim.evaluation.offline import evaluate_offline
from climsim.export.comparison import relative_difference
from climsim.export.config import ExportConfig
from climsim.export.formats import FORMATS, columns_of_calls, onnx, pt2
from climsim.export.loading import device_for, load_emulator
from climsim.export.module import EmulationMember, build_emulation
from climsim.export.trial import load_script
from climsim.export.writing import EXPORTED, export_model, run_export
from climsim.exported_file import form_of
from climsim.files import file_hash
from climsim.hosts.e3sm.keys import _combination
from climsim.lineage import source_of
from climsim.online.model import InBlocks, open_model
from climsim.training.checkpoint import load_model
from tests.evaluation_synthetic import write_store
from tests.exported_synthetic import LEVELS, RECIPES, TINY, write_checkpoint
from tests.physical_samples import samples, vector

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
COMPILED = pytest.param("package", marks=[pytest.mark.slow, needs_compiler])


def file_of(folder, name="pure_resLSTM", recipe="standard", form="onnx"):
    """An exported file, and the checkpoint that it is made of."""
    known = {"emulated_processes": frozenset({"radiation", "clouds"})}
    checkpoint = write_checkpoint(folder / f"{name}-{recipe}.ckpt", name, recipe, **known)
    out = folder / f"{name}-{recipe}{FORMATS.find(form).suffix}"
    return run_export(ExportConfig(checkpoint, out, format=form)), checkpoint


def combinations():
    """All 30 of both formats; in CI a convolution and an LSTM as graphs: others take too long."""
    in_ci = {("onnx", "unet", "standard"), ("onnx", "pure_resLSTM", "conf_loss")}
    for form in ("onnx", "pt2"):
        for name in sorted(TINY):
            for recipe in RECIPES:
                marks = [] if (form, name, recipe) in in_ci else [pytest.mark.long]
                marks += [needs_compiler] if form == "pt2" else []
                yield pytest.param(form, name, recipe, marks=[pytest.mark.slow, *marks])


def require_equal(path, checkpoint):
    """The file gives what the modules give, for any number of columns in any order in memory."""
    emulator = climsim.load_emulator(path)
    model = load_model(checkpoint)
    eager = build_emulation([EmulationMember(model.network, model.transforms)], model.confidence)
    block = vector(samples(LEVELS, 384, seed=5), emulator.inputs).numpy().astype(np.float32)
    with torch.inference_mode():
        whole = eager(torch.from_numpy(block))
    for columns in (384, 1, 2):
        x = block[:columns]
        with torch.inference_mode():
            expected = eager(torch.from_numpy(x))
        found = emulator(x)
        assert found.dtype == np.float32
        assert relative_difference(expected, torch.from_numpy(found), LEVELS, whole) < 1e-5
        np.testing.assert_array_equal(emulator(np.asfortranarray(x)), found)
    assert emulator(block[:0]).shape == (0, emulator.n_outputs)
    block[3, 5] = np.nan
    unknown = np.isnan(emulator(block))
    assert unknown[3].all()
    assert not np.delete(unknown, 3, axis=0).any()


@pytest.mark.parametrize(("form", "name", "recipe"), combinations())
def test_every_network_and_recipe_has_the_same_numbers_in_every_format(
    form, name, recipe, tmp_path
):
    require_equal(*file_of(tmp_path, name, recipe, form))


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """An ONNX file."""
    return file_of(tmp_path_factory.mktemp("graph"))[0]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """An AOTInductor package."""
    return file_of(tmp_path_factory.mktemp("package"), form="pt2")[0]


@pytest.fixture(params=["graph", COMPILED])
def exported(request):
    """A file of each format that is not the default."""
    return request.getfixturevalue(request.param)


def test_file_of_every_format_equals_the_python_path(exported):
    require_equal(exported, exported.with_suffix(".ckpt"))


def test_card_and_provenance_are_read_from_every_format(exported):
    emulator = load_emulator(exported)
    assert emulator.metadata["file_format"] == exported.suffix[1:]
    assert (emulator.card.training.network, emulator.card.training.seed) == ("pure_resLSTM", 7)
    assert emulator.card.emulated_processes == {"radiation", "clouds"}
    assert emulator.metadata["training_git_revision"] == "cafe"
    assert EXPORTED.recognizes(exported)
    source = source_of(exported)
    assert source is not None
    assert source.label == "exported model"
    hashes = json.loads(source.made_by(exported)["input_hashes"])
    assert hashes == {str(exported.with_suffix(".ckpt")): file_hash(exported.with_suffix(".ckpt"))}


def test_metadata_are_those_of_torchscript(exported):
    checkpoint = exported.with_suffix(".ckpt")
    script = load_emulator(export_model(checkpoint, exported.with_suffix(".pt"))).metadata
    own = {"file_format", "opset", "compiled_for", "configuration"}
    other = load_emulator(exported).metadata
    assert {k: v for k, v in other.items() if k not in own} == {
        k: v for k, v in script.items() if k not in own
    }


def test_coupled_model_of_every_format_runs_on_blocks_side_by_side(exported, monkeypatch):
    host = SimpleNamespace(name="any", grid=SimpleNamespace(n_levels=LEVELS))
    threads = torch.get_num_threads()
    try:
        model = open_model(exported, host, threads=2)
    finally:
        torch.set_num_threads(threads)
    assert isinstance(model, InBlocks)
    x = vector(samples(LEVELS, 300), model.interface.variables).numpy().astype(np.float32)
    np.testing.assert_allclose(model(x), load_emulator(exported)(x), rtol=1e-3, atol=1e-6)


def test_every_format_is_scored_alike(exported, tmp_path):
    write_store(tmp_path / "store.zarr", steps=9, columns=5, levels=LEVELS)
    script = export_model(exported.with_suffix(".ckpt"), tmp_path / "model.pt")
    found, expected = (
        xarray.load_dataset(
            evaluate_offline(OfflineConfig(p, tmp_path / "store.zarr", tmp_path / f"{p.suffix}.nc"))
        )
        for p in (exported, script)
    )
    assert found.attrs["parameters"] == expected.attrs["parameters"]
    np.testing.assert_allclose(found["mae_ptend_t"], expected["mae_ptend_t"], rtol=1e-4)


def test_damaged_file_of_every_format_is_refused_before_it_runs(exported, tmp_path):
    whole = exported.read_bytes()
    path = tmp_path / exported.name
    for content in (whole[:200], whole[: len(whole) // 2], b"", b"not a model"):
        path.write_bytes(content)
        with pytest.raises(ClimSimError, match=r"expected an .* found something else") as error:
            load_emulator(path)
        assert "\n" not in str(error.value)
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 4
    path.write_bytes(changed)
    with pytest.raises(ClimSimError, match=r"was damaged .*fit its checksum"):
        load_emulator(path)


def test_file_is_opened_by_its_content_whatever_its_name(exported, tmp_path):
    renamed = shutil.copy(exported, tmp_path / "model.bin")
    assert load_emulator(renamed).form == form_of(exported)


def test_climate_model_that_loads_torchscript_refuses_other_formats(exported):
    with pytest.raises(ClimSimError, match="expected a TorchScript file, which E3SM loads"):
        _combination(exported)


def test_file_without_metadata_is_refused_unless_it_is_torchscript(graph, tmp_path):
    library = pytest.importorskip("onnx")
    model = library.load(graph)
    del model.metadata_props[:]
    library.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(ClimSimError, match=r"foreign\.onnx: expected metadata\.json inside"):
        load_emulator(tmp_path / "foreign.onnx")


def test_device_that_a_format_does_not_know_is_named(graph):
    assert device_for(graph) == "cpu"
    with pytest.raises(ClimSimError, match=r"expected device cpu, .* found cuda"):
        load_emulator(graph, "cuda")


@pytest.mark.parametrize(
    ("form", "out", "message"),
    [
        ("onnx", "m.pt", r"m\.pt: expected a name that ends in \.onnx for format=onnx"),
        ("pt2", "m.pt", r"m\.pt: expected a name that ends in \.pt2 for format=pt2"),
        ("torchscript", "m.onnx", r"expected a name that ends in \.pt for format=torchscript"),
        ("tflite", "m.pt", "format: expected one of onnx, pt2, torchscript, found 'tflite'"),
    ],
)
def test_name_that_promises_another_format_is_refused(tmp_path, form, out, message):
    checkpoint = write_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(ClimSimError, match=message):
        run_export(ExportConfig(checkpoint, tmp_path / out, format=form))
    assert not (tmp_path / out).exists()


@pytest.mark.slow
@needs_compiler
def test_code_for_one_number_of_columns_takes_any(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model.ckpt", "squeezeformer")
    out = tmp_path / "model.pt2"
    run_export(ExportConfig(checkpoint, out, format="pt2", columns=7))
    emulator = load_emulator(out)
    assert emulator.columns == 7
    require_equal(out, checkpoint)
    block = vector(samples(LEVELS, 20, seed=5), emulator.inputs).numpy().astype(np.float32)
    whole = emulator(block)
    assert whole.shape == (20, emulator.n_outputs)
    for columns in (1, 7, 8, 14):
        np.testing.assert_array_equal(emulator(block[:columns]), whole[:columns])


@pytest.mark.parametrize("columns", ["x", -10, 1.5, None])
def test_number_of_columns_that_metadata_do_not_hold_is_refused(columns):
    message = r"a\.pt2: columns in its metadata: expected a whole number >= 0, found"
    with pytest.raises(ClimSimError, match=message):
        columns_of_calls({"columns": columns}, Path("a.pt2"))


def test_number_of_columns_that_a_format_cannot_keep_is_refused(tmp_path):
    for form in ("torchscript", "onnx"):
        with pytest.raises(ClimSimError, match=f"columns: expected 0 for format={form}, found 512"):
            ExportConfig(tmp_path / "a.ckpt", tmp_path / "a", format=form, columns=512)
    with pytest.raises(ClimSimError, match="columns: expected"):
        ExportConfig(tmp_path / "a.ckpt", tmp_path / "a.pt2", format="pt2", columns=-1)
    with pytest.raises(ClimSimError, match="columns: expected 100000 at most, found 1000000000"):
        ExportConfig(tmp_path / "a.ckpt", tmp_path / "a.pt2", format="pt2", columns=10**9)


def test_precision_that_a_format_does_not_know_is_refused(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(ClimSimError, match="expected float32 for format=onnx, found 'bfloat16'"):
        export_model(checkpoint, tmp_path / "m.onnx", "bfloat16", format="onnx")


def test_network_that_an_exporter_cannot_write_is_one_line_and_no_file(tmp_path, monkeypatch):
    def fail(emulation):
        raise NotImplementedError("no rule for aten::sort\n" + 90 * "and so on ")

    monkeypatch.setattr(onnx, "traced", fail)
    checkpoint = write_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(ClimSimError, match=r"cannot be written as ONNX file .*aten::sort") as error:
        export_model(checkpoint, tmp_path / "m.onnx", format="onnx")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
    assert [path.name for path in tmp_path.iterdir()] == ["model.ckpt"]


def test_missing_library_is_named_with_the_extra_that_brings_it(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ClimSimError, match=r"expected onnxruntime, found none.*\[onnx\]"):
        load_emulator(graph)


@pytest.mark.parametrize(
    ("compiled", "here", "fits"),
    [
        ({"AOTI_MACHINE": "x86_64", "AOTI_CPU_ISA": "AVX512"}, "AVX512", True),
        ({"AOTI_MACHINE": "x86_64", "AOTI_CPU_ISA": "AVX2"}, "AVX512", True),
        ({"AOTI_MACHINE": "x86_64", "AOTI_CPU_ISA": "AVX512 AMX_TILE"}, "AVX2", False),
        ({"AOTI_MACHINE": "aarch64", "AOTI_CPU_ISA": "ASIMD"}, "AVX2", False),
    ],
)
def test_code_for_another_cpu_is_refused_before_it_crashes(monkeypatch, compiled, here, fits):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: here)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    if fits:
        pt2.require_instructions("m.pt2", compiled)
    else:
        with pytest.raises(ClimSimError, match=r"m\.pt2: expected code for x86_64 with AVX2, fo"):
            pt2.require_instructions("m.pt2", compiled)


@pytest.mark.parametrize(("device", "switched"), [("cpu", []), ("cuda:0", [False])])
def test_operations_of_a_torchscript_file_are_not_fused_on_a_gpu(monkeypatch, device, switched):
    calls = []
    monkeypatch.setattr(torch._C, "_jit_override_can_fuse_on_gpu", calls.append)
    monkeypatch.setattr(torch.jit, "load", lambda path, map_location: torch.nn.Identity())
    load_script("network.pt", device)
    assert calls == switched
