"""Models at the interface of the run loop: made elsewhere, of another interface or other levels."""

import json
import os
import threading

import numpy as np
import pytest
import torch

from climsim.cards import ModelCard, TrainingCard
from climsim.errors import ClimSimError
from climsim.evaluation.history import RunHistory
from climsim.export.loading import load_emulator
from climsim.interfaces import V2, V6
from climsim.online.collect import CollectConfig, collect
from climsim.online.damping import DampingConfig, measure_damping
from climsim.online.model import InBlocks, non_finite, open_model
from climsim.online.run import RunConfig, run_online, run_together
from climsim.runs.coupling import CouplerOptions
from climsim.runs.record import RunRecord
from climsim.threads import thread_count
from climsim.variables import OUTPUTS
from tests.online.toy_host import COLUMNS, LEVELS, ToyHost, toy_grid

FREE = CouplerOptions(strato_water=False, top_levels=0)


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
        "n_inputs": V2.variables.size(LEVELS),
        "n_outputs": OUTPUTS.size(LEVELS),
    } | changes


def run(folder, model, host=None, days=0.25):
    config = RunConfig(case="toy", folder=folder, days=days, host="toy", model=model)
    return run_online(config, host=host or ToyHost())


def test_file_with_a_known_interface_runs(tmp_path):
    path = save(tmp_path / "m.pt", Damping(LEVELS, OUTPUTS.size(LEVELS)), toy_metadata())
    record = run(tmp_path / "run", path)
    assert (record.status, record.sums.coupled_steps) == ("complete", 13)
    assert record.about.model == str(path)
    assert str(path) in record.about.made_by["input_hashes"]


def test_record_keeps_what_the_file_says_of_its_training(tmp_path):
    said = TrainingCard("unet", "steady", 7, hours=1.5, device="GPU")
    metadata = toy_metadata(**said.to_json())
    path = save(tmp_path / "m.pt", Damping(LEVELS, OUTPUTS.size(LEVELS)), metadata)
    folder = tmp_path / "toy-m-1"
    assert run(folder, path).about.training == said
    path.unlink()
    assert RunRecord.open(folder).about.training == said
    assert RunHistory.open(folder).member.label == "unet-steady-7"


def test_same_file_of_another_content_is_another_run(tmp_path):
    path = save(tmp_path / "m.pt", Damping(LEVELS, OUTPUTS.size(LEVELS)), toy_metadata())
    run(tmp_path / "run", path)
    save(path, Damping(LEVELS, OUTPUTS.size(LEVELS)), toy_metadata(note="trained longer"))
    with pytest.raises(ClimSimError, match="another version of"):
        run(tmp_path / "run", path)


@pytest.mark.parametrize(("declared", "named"), [(900.0, True), (1200.0, False), (None, False)])
def test_model_of_another_time_step_is_named(tmp_path, caplog, declared, named):
    metadata = toy_metadata() if declared is None else toy_metadata(time_step_s=declared)
    path = save(tmp_path / "m.pt", Damping(LEVELS, OUTPUTS.size(LEVELS)), metadata)
    run(tmp_path / "run", path)
    assert ("trained on steps of 900 s, the host has steps of 1200 s" in caplog.text) is named


@pytest.mark.parametrize(
    ("precision", "processor", "named"),
    [("bfloat16", "AVX2", True), ("bfloat16", "AVX512", False), ("float32", "AVX2", False)],
)
def test_bfloat16_is_named_where_the_processor_has_none(
    tmp_path, caplog, monkeypatch, precision, processor, named
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    metadata = toy_metadata(precision=precision)
    path = save(tmp_path / "m.pt", Damping(LEVELS, OUTPUTS.size(LEVELS)), metadata)
    load_emulator(path, "cpu")
    assert ("exported with precision=float32 runs many times as fast" in caplog.text) is named


THREE = ["clouds", "convection", "radiation"]


def file_that_replaces(folder, processes):
    known = {} if processes is None else {"emulated_processes": processes}
    return save(folder / "m.pt", Damping(LEVELS, OUTPUTS.size(LEVELS)), toy_metadata(**known))


def host_that_leaves_out(processes):
    host = ToyHost()
    host.emulated_processes = processes
    return host


@pytest.mark.parametrize(
    ("trained", "leaves_out"),
    [(THREE, {*THREE, "turbulence"}), ([*THREE, "turbulence"], set(THREE))],
)
def test_host_that_leaves_out_other_processes_is_refused_before_the_first_step(
    tmp_path, trained, leaves_out
):
    path, host = file_that_replaces(tmp_path, trained), host_that_leaves_out(leaves_out)
    with pytest.raises(ClimSimError) as error:
        run(tmp_path / "run", path, host)
    assert str(error.value) == (
        f"{path}: expected an emulated term of {', '.join(sorted(leaves_out))}, as host toy says, "
        f"found one of {', '.join(sorted(trained))}: couple it with the host options that its data "
        "were generated with, or take another model"
    )
    damping = DampingConfig((path,), tmp_path / "damping.nc", draws=1, lowest=4, host="toy")
    with pytest.raises(ClimSimError, match="expected an emulated term of"):
        measure_damping(damping, host=host)
    collection = CollectConfig(
        raw=tmp_path / "raw", segments=1, days=0.1, model=path, host="toy", coupler=FREE
    )
    with pytest.raises(ClimSimError, match="expected an emulated term of"):
        collect(collection, host=host)
    assert host.calls == {"physics": 0, "step_physics": 0, "step_emulated": 0}


@pytest.mark.parametrize(
    ("trained", "leaves_out"), [(THREE, set(THREE)), (None, set(THREE)), (THREE, set())]
)
def test_model_and_host_that_agree_or_do_not_say_are_coupled(tmp_path, trained, leaves_out):
    path = file_that_replaces(tmp_path, trained)
    record = run(tmp_path / "run", path, host_that_leaves_out(leaves_out))
    assert (record.status, record.sums.coupled_steps) == ("complete", 13)


def test_run_does_not_continue_on_a_host_that_leaves_out_other_processes(tmp_path):
    path = file_that_replaces(tmp_path, THREE)
    run(tmp_path / "run", path, host_that_leaves_out(THREE))
    longer = {"days": 0.5}
    with pytest.raises(ClimSimError, match="expected an emulated term of clouds, as host toy"):
        run(tmp_path / "run", path, host_that_leaves_out({"clouds"}), **longer)
    record = run(tmp_path / "run", path, host_that_leaves_out(THREE), **longer)
    assert (record.status, record.steps) == ("complete", 36)


def test_members_that_step_together_are_compared_with_their_host(tmp_path):
    path = file_that_replaces(tmp_path, THREE)
    configs = [
        RunConfig(
            case=name, folder=tmp_path / name, days=0.25, host="toy", model=path,
            perturbation_seed=seed,
        )
        for seed, name in enumerate(("a", "b"))
    ]  # fmt: skip
    with pytest.raises(ClimSimError, match="expected an emulated term of radiation, as host toy"):
        run_together(configs, host=host_that_leaves_out({"radiation"}))


@pytest.mark.parametrize("interface", [V2.variables, V6.variables])
def test_interface_of_a_file_without_metadata_follows_from_its_input(tmp_path, interface):
    path = save(tmp_path / "m.pt", Wide(interface.size(), OUTPUTS.size()))
    with pytest.raises(ClimSimError, match=r"expected 5 levels.*found 60"):
        open_model(path, ToyHost())


@pytest.mark.parametrize(
    ("module", "metadata", "message"),
    [
        (Wide(124, 368), None, "368 or 676 outputs from 557 or 1519 inputs"),
        (Wide(557, 308), None, "368 or 676 outputs from 557 or 1519 inputs"),
        (Wide(62, 37), toy_metadata(), "expected interface v2 at 5 levels"),
        (Wide(63, 38), toy_metadata(), "expected interface v2 at 5 levels"),
        (Wide(62, 38), toy_metadata(door="v9"), "expected a model with the interface"),
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


class Counting:
    """Doubles its input and notes which columns came together, on which threads."""

    interface, n_levels, confidence, card = V2, LEVELS, False, ModelCard()

    def __init__(self, parties=1):
        self.sizes, self.threads = [], set()
        self.barrier = threading.Barrier(parties)

    def __call__(self, vector):
        self.sizes.append(len(vector))
        self.threads.add(threading.current_thread().name)
        self.barrier.wait(timeout=30)
        return 2 * vector


def test_blocks_of_columns_keep_their_order():
    model = Counting()
    vector = np.arange(300 * 4, dtype=np.float32).reshape(300, 4)
    np.testing.assert_array_equal(InBlocks(model, 1)(vector), 2 * vector)
    assert model.sizes == [100, 100, 100]


def test_blocks_run_side_by_side():
    model = Counting(parties=2)  # neither returns before the other has begun
    vector = np.ones((10, 3), dtype=np.float32)
    assert InBlocks(model, 2)(vector).shape == (10, 3)
    assert sorted(model.sizes) == [5, 5]
    assert len(model.threads) == 2


def test_blocks_have_the_columns_that_the_code_of_a_model_is_for():
    model = Counting()
    vector = np.arange(300 * 4, dtype=np.float32).reshape(300, 4)
    np.testing.assert_array_equal(InBlocks(model, 1, 128)(vector), 2 * vector)
    assert model.sizes == [128, 128, 44]


def test_fewer_columns_than_threads_are_one_block_each():
    model = Counting()
    InBlocks(model, 8)(np.ones((3, 2), dtype=np.float32))
    assert model.sizes == [1, 1, 1]


def test_threads_do_not_change_what_a_model_gives(tmp_path):
    path = save(tmp_path / "m.pt", Wide(62, 38), toy_metadata())
    vector = np.random.default_rng(2).normal(size=(517, 62)).astype(np.float32)
    one, four = (open_model(path, ToyHost(), "cpu", n)(vector) for n in (1, 4))
    np.testing.assert_allclose(one, four, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("wanted", "environment", "expected"),
    [(3, "1", 3), (0, "1", 1), (0, "6,2", 6), (0, None, len(os.sched_getaffinity(0)))],
)
def test_threads_follow_configuration_then_environment_then_cores(
    monkeypatch, wanted, environment, expected
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if environment is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    assert thread_count(wanted) == expected


def test_nonsense_in_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    with pytest.raises(ClimSimError, match="OMP_NUM_THREADS: expected a positive number"):
        thread_count()


def test_torch_itself_keeps_to_one_thread(tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        open_model(save(tmp_path / "m.pt", Wide(62, 38), toy_metadata()), ToyHost())
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


class Cuda:
    """Stands for a model on a GPU."""

    n_levels, interface, confidence, card, columns = LEVELS, V2, False, ModelCard(), 0


@pytest.mark.parametrize(
    ("device", "there", "chosen"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("gpu", True, "cuda")],
)
def test_model_runs_where_it_is_asked_to(monkeypatch, tmp_path, device, there, chosen):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(
        "climsim.export.loading.load_emulator", lambda path, d: asked.append(d) or Cuda()
    )
    path = save(tmp_path / "m.pt", Wide(62, 38), toy_metadata())
    model = open_model(path, ToyHost(), device)
    assert asked == [chosen]
    assert isinstance(model, InBlocks) == (chosen == "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpu_is_named(tmp_path):
    path = save(tmp_path / "m.pt", Wide(62, 38), toy_metadata())
    assert isinstance(open_model(path, ToyHost(), "auto"), InBlocks)
    with pytest.raises(ClimSimError, match=r"^device: expected a GPU, found none"):
        open_model(path, ToyHost(), "gpu")


def test_value_that_is_no_number_is_found_with_its_place():
    output = np.zeros((COLUMNS, OUTPUTS.size(LEVELS)), dtype=np.float32)
    assert non_finite(output, toy_grid()) is None
    output[3, 4 * LEVELS + 2] = np.inf
    found = non_finite(output, toy_grid())
    assert (found.variable, found.column, found.level) == ("ptend_u", 3, 2)
    output[2, 6 * LEVELS + 3] = np.nan
    found = non_finite(output, toy_grid())
    assert (found.variable, found.column, found.level) == ("cam_out_PRECC", 2, None)
