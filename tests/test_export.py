"""Exported files against the Python path, and everything that can be wrong with a file."""

import json
import logging
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

from climsim.checkpoint_cards import TrainingProgress
from climsim.constants import TIME_STEP
from climsim.errors import ClimSimError
from climsim.export import trial, writing
from climsim.export.comparison import relative_difference
from climsim.export.config import ExportConfig
from climsim.export.formats import FORMATS
from climsim.export.loading import METADATA_NAME, load_emulator
from climsim.export.probe import training_columns
from climsim.export.writing import export_model, run_export
from climsim.interfaces import V2, V6, encoding
from climsim.networks import NETWORKS
from climsim.physics.thermodynamics import liquid_fraction
from climsim.training.checkpoint import load_model
from climsim.variables import OUTPUTS, TARGETS
from tests.exported_synthetic import (
    LEVELS,
    RECIPES,
    TINY,
    settings_of,
    statistics,
    write_checkpoint,
)
from tests.physical_samples import samples, vector


@pytest.fixture
def make(tmp_path):
    """Writes a checkpoint of a tiny network whose weights are not those of initialization."""

    def checkpoint(name="unet", recipe="standard", seed=7, file="model.ckpt", **further):
        return write_checkpoint(tmp_path / file, name, recipe, seed, **further)

    return checkpoint


def python_path(checkpoint, values, kind):
    """The outputs from features of a store, in numpy from the network's end on."""
    model = load_model(checkpoint)
    y = model.predict(vector(values, encoding(kind).variables)).double().numpy()
    tendency = {n: y[:, s].copy() for n, s in TARGETS.slices(LEVELS).items()}
    for name in ("ptend_q0001", "ptend_qn", "ptend_u", "ptend_v"):
        tendency[name][:, :15] = 0
    t, liquid, ice = (
        values[n].astype(np.float32).astype(float)
        for n in ("state_t", "state_q0002", "state_q0003")
    )
    w = liquid_fraction(t + TIME_STEP * tendency["ptend_t"])
    total = liquid + ice + TIME_STEP * tendency["ptend_qn"]
    tendency["ptend_q0002"] = (w * total - liquid) / TIME_STEP
    tendency["ptend_q0003"] = ((1 - w) * total - ice) / TIME_STEP
    return torch.as_tensor(np.concatenate([tendency[n] for n in OUTPUTS.names], axis=1))


def combinations():
    """All 30; diff_loss, whose networks are those of standard, in the fast tests for one only."""
    for name in sorted(TINY):
        for recipe in RECIPES:
            again = recipe == "diff_loss" and name != "unet"
            marks = [pytest.mark.slow] if again else []
            yield pytest.param(name, recipe, marks=marks)


@pytest.mark.parametrize(("name", "recipe"), combinations())
def test_file_equals_the_python_path(name, recipe, make, tmp_path):
    checkpoint = make(name, recipe)
    emulator = load_emulator(export_model(checkpoint, tmp_path / "model.pt"))
    kind = settings_of(recipe)["inputs"]
    values = samples(LEVELS, 384, seed=5)
    interface = V6 if recipe == "v6" else V2
    assert emulator.interface is interface
    x = vector(values, interface.variables).numpy()
    y = emulator(x)
    size = OUTPUTS.size(LEVELS)
    assert y.dtype == np.float32
    assert y.shape == (384, size + (TARGETS.size(LEVELS) if recipe == "conf_loss" else 0))
    expected = python_path(checkpoint, values, kind)
    assert relative_difference(expected, torch.as_tensor(y[:, :size]).double(), LEVELS) < 1e-5
    assert np.abs(y).max() > 0
    alone = emulator(x[7:8])
    whole, alone = torch.as_tensor(y), torch.as_tensor(alone)
    assert relative_difference(whole[7:8], alone, LEVELS, whole) < 1e-5
    columns_first = np.asfortranarray(x)
    assert not columns_first.flags.c_contiguous
    np.testing.assert_array_equal(emulator(columns_first), y)


def test_every_network_is_exported_here():
    assert set(TINY) == set(NETWORKS.names())


def test_confidences_follow_the_outputs(make, tmp_path):
    checkpoint = make(recipe="conf_loss")
    emulator = load_emulator(export_model(checkpoint, tmp_path / "model.pt"))
    values = samples(LEVELS, 5)
    model = load_model(checkpoint)
    with torch.inference_mode():
        inputs = model.transforms.inputs(vector(values, encoding("standard").variables))
        _, confidence = model.network(inputs)
    y = emulator(vector(values, V2.variables).numpy())
    assert emulator.confidence
    assert emulator.metadata["variable_combination"] == "v2_conf"
    found = y[:, OUTPUTS.size(LEVELS) :]
    np.testing.assert_allclose(found, confidence.numpy(), rtol=1e-4, atol=1e-6)
    start = TARGETS.slice("ptend_u", LEVELS).start
    assert (found[:, start : start + 12] == 0).all()


def test_metadata_says_what_is_inside(make, tmp_path):
    emulator = load_emulator(export_model(make(recipe="v6"), tmp_path / "model.pt"))
    metadata = emulator.metadata
    assert metadata["door"] == "v6"
    assert metadata["n_levels"] == LEVELS
    assert metadata["n_inputs"] == V6.variables.size(LEVELS) == emulator.n_inputs
    assert [v["name"] for v in metadata["inputs"]] == list(V6.variables.names)
    assert metadata["inputs"][0] == {"name": "state_t", "units": "K", "levels": LEVELS}
    assert metadata["outputs"][-1] == {"name": "cam_out_SOLLD", "units": "W m-2", "levels": 1}
    assert (metadata["recipe"], metadata["seed"]) == ("v6", 7)
    assert (metadata["validation_loss"], metadata["statistics_hash"]) == (0.5, "abc")
    assert metadata["training_git_revision"] == "cafe"
    assert metadata["network"]["name"] == "unet"
    assert metadata["precision"] == "float32"


def test_ensemble_is_the_mean_of_its_members_and_obeys_the_constraint(make, tmp_path):
    first, second = make(seed=7, file="a.ckpt"), make("convnext", seed=43, file="b.ckpt")
    members = [load_emulator(export_model(p, tmp_path / f"{p.stem}.pt")) for p in (first, second)]
    config = ExportConfig(first, tmp_path / "both.pt", (second,))
    both = load_emulator(run_export(config))
    x = vector(samples(LEVELS, 9), V2.variables).numpy()
    a, b, mean = (e(x).astype(float) for e in (*members, both))
    places = OUTPUTS.slices(LEVELS)
    for name in ("ptend_t", "ptend_q0001", "ptend_u", "cam_out_PRECC"):
        expected = (a[:, places[name]] + b[:, places[name]]) / 2
        np.testing.assert_allclose(
            mean[:, places[name]], expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max()
        )
    interface = V2.variables.slices(LEVELS)
    t = x[:, interface["state_t"]] + TIME_STEP * mean[:, places["ptend_t"]]
    liquid = x[:, interface["state_q0002"]] + TIME_STEP * mean[:, places["ptend_q0002"]]
    ice = x[:, interface["state_q0003"]] + TIME_STEP * mean[:, places["ptend_q0003"]]
    total = liquid + ice
    np.testing.assert_allclose(liquid, liquid_fraction(t) * total, atol=2e-5 * np.abs(total).max())
    assert len(both.metadata["members"]) == 2
    assert [m["seed"] for m in both.metadata["members"]] == [7, 43]


def test_training_hours_of_an_ensemble_are_those_of_all_members(make, tmp_path):
    first = make(file="a.ckpt", progress=TrainingProgress(0, 9, 9, 1.5, "2 x A"))
    second = make(file="b.ckpt", seed=43, progress=TrainingProgress(0, 9, 9, 2.0, "1 x B"))
    metadata = load_emulator(export_model((first, second), tmp_path / "both.pt")).metadata
    assert metadata["training_hours"] == 3.5
    assert metadata["training_device"] == "1 x B, 2 x A"
    assert [m["training_hours"] for m in metadata["members"]] == [1.5, 2.0]
    unknown = export_model((first, make(file="c.ckpt")), tmp_path / "unknown.pt")
    assert "training_hours" not in load_emulator(unknown).metadata


def test_members_of_different_interfaces_are_refused(make, tmp_path):
    paths = (make(file="a.ckpt"), make(recipe="v6", file="b.ckpt"))
    with pytest.raises(
        ClimSimError, match=r"b\.ckpt: expected interface, targets, levels, confidence, time step"
    ):
        export_model(paths, tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()


def test_members_that_replace_different_processes_are_refused(make, tmp_path):
    three, four = ({"radiation", "convection", "clouds", *more} for more in ((), ("turbulence",)))
    first = make("pao_model", file="a.ckpt", emulated_processes=frozenset(three))
    other = make("pao_model", file="b.ckpt", emulated_processes=frozenset(four))
    message = r"b\.ckpt: expected an emulated term of .*a\.ckpt says, found .*export members of one"
    with pytest.raises(ClimSimError, match=message):
        export_model((first, other), tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()
    former = make("pao_model", file="former.ckpt")
    mean = load_emulator(export_model((former, first), tmp_path / "model.pt"))
    assert mean.card.emulated_processes == three


def test_folder_of_a_training_in_place_of_its_checkpoint_is_named(make, tmp_path):
    (tmp_path / "run").mkdir()
    message = r"run: no such checkpoint: train first or give another path"
    with pytest.raises(ClimSimError, match=message):
        export_model((tmp_path / "run",), tmp_path / "model.pt")
    make("pao_model", file="run/best.ckpt")
    with pytest.raises(ClimSimError, match=r"run: no such checkpoint: give .*run/best\.ckpt"):
        export_model((tmp_path / "run",), tmp_path / "model.pt")


def test_members_whose_confidences_have_other_units_are_refused(make, tmp_path):
    first, other = (
        make("pao_model", "conf_loss", file=f"{loss}.ckpt", loss=loss) for loss in ("huber", "mse")
    )
    with pytest.raises(ClimSimError, match=r"mse\.ckpt: expected the training loss and the scales"):
        export_model((first, other), tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize("name", sorted(TINY))
def test_file_never_raises_for_finite_inputs(name, make, tmp_path):
    emulator = load_emulator(export_model(make(name), tmp_path / "model.pt"))
    for columns in (0, 1, 2, 7):
        assert emulator(np.zeros((columns, emulator.n_inputs), np.float32)).shape[0] == columns
    extreme = np.zeros((4, emulator.n_inputs), np.float32)
    extreme[0], extreme[1], extreme[2], extreme[3, ::2] = 3e38, -3e38, 1e-38, 1e30
    assert emulator(extreme).shape == (4, emulator.n_outputs)


def test_disk_that_fills_up_leaves_the_old_file_and_nothing_else(make, tmp_path):
    checkpoint = make()
    path = export_model(checkpoint, tmp_path / "model.pt")
    before, entries = path.read_bytes(), sorted(p.name for p in tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(
            ClimSimError, match=r"model\.pt: the file would be larger than"
        ) as error:
            export_model(checkpoint, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == entries


def test_name_without_an_ending_is_kept_and_read(make, tmp_path):
    path = export_model(make(), tmp_path / "model")
    assert path == tmp_path / "model"
    assert load_emulator(path).interface is V2


def test_file_holds_no_device_and_moves_whole(make, tmp_path):
    path = export_model(make(), tmp_path / "model.pt")
    module = torch.jit.load(str(path), map_location="meta")
    tensors = [*module.parameters(), *module.buffers()]
    assert tensors
    assert all(t.device.type == "meta" for t in tensors)
    code = "".join(m.code for m in module.modules() if hasattr(m, "code"))
    assert 'torch.device("cpu")' not in code
    assert not module.training


def test_file_runs_without_the_package(make, tmp_path):
    path = export_model(make(), tmp_path / "model.pt")
    emulator = load_emulator(path)
    x = vector(samples(LEVELS, 3), V2.variables)
    np.save(tmp_path / "x.npy", x.numpy())
    script = (
        "import sys, numpy, torch; m = torch.jit.load(sys.argv[1]);"
        "numpy.save(sys.argv[3], m(torch.from_numpy(numpy.load(sys.argv[2]))).detach());"
        "assert not any(n.startswith('climsim') for n in sys.modules)"
    )
    files = [str(path), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
    subprocess.run([sys.executable, "-c", script, *files], check=True, cwd=tmp_path)
    expected, found = torch.from_numpy(emulator(x.numpy())), np.load(tmp_path / "y.npy")
    assert relative_difference(expected, torch.from_numpy(found), LEVELS) < 1e-5


def test_fast_form_says_so_and_how_far_it_is_off(make, tmp_path, caplog):
    checkpoint = make()
    with caplog.at_level(logging.WARNING, "climsim"):
        fast = load_emulator(export_model(checkpoint, tmp_path / "fast.pt", "bfloat16"))
    assert "bfloat16" in caplog.text
    assert fast.metadata["precision"] == "bfloat16"
    off = fast.metadata["fast_form"]
    assert 1e-5 < off["ptend_t"] < 0.1
    exact = load_emulator(export_model(checkpoint, tmp_path / "exact.pt"))
    x = vector(samples(LEVELS, 6), V2.variables).numpy()
    assert not np.array_equal(fast(x), exact(x))
    difference = relative_difference(torch.as_tensor(exact(x)), torch.as_tensor(fast(x)), LEVELS)
    assert difference < 0.1


class Rounded(type(FORMATS.find("torchscript"))):
    """TorchScript, whose values a compiler rounded in another way than torch."""

    off = 0.0

    def load(self, path, device):
        model = super().load(path, device)
        return lambda x: model(x) * (1.0 + self.off)


def test_reduced_file_may_be_as_far_from_python_as_python_from_float32(make, tmp_path, monkeypatch):
    checkpoint = make()
    exact, reduced = (
        load_emulator(export_model(checkpoint, tmp_path / f"{precision}.pt", precision))
        for precision in ("float32", "bfloat16")
    )
    about = load_model(checkpoint).about
    x = training_columns(V2.variables, about.statistics, about.statistics_fields, 64).numpy()
    rounding = relative_difference(torch.as_tensor(exact(x)), torch.as_tensor(reduced(x)), LEVELS)
    monkeypatch.setattr(writing, "_REDUCED_TOLERANCE", 0.0)
    monkeypatch.setattr(writing, "fitting_format", lambda *asked: Rounded())
    monkeypatch.setattr(Rounded, "off", 1.5 * rounding)
    export_model(checkpoint, tmp_path / "near.pt", "bfloat16")
    monkeypatch.setattr(Rounded, "off", 4.0 * rounding)
    with pytest.raises(ClimSimError, match=r"reproduce the Python path .* choose .* or precision$"):
        export_model(checkpoint, tmp_path / "far.pt", "bfloat16")
    assert not (tmp_path / "far.pt").exists()


def test_export_is_tried_on_columns_like_those_of_training(make, tmp_path):
    checkpoint = make()
    assert (
        load_emulator(export_model(checkpoint, tmp_path / "a.pt")).metadata["probes"] == "training"
    )
    about = load_model(checkpoint).about
    x = training_columns(V2.variables, about.statistics, about.statistics_fields, 4000)
    for name, place in V2.variables.slices(LEVELS).items():
        known = statistics(LEVELS)[name]
        low, high = (np.broadcast_to(b, x[0, place].shape) for b in (known.min, known.max))
        found = x[:, place].double().numpy()
        assert (found >= low - 1e-6 * np.abs(low)).all(), name
        assert (found <= high + 1e-6 * np.abs(high)).all(), name
        inside = (known.min < known.mean - 2 * known.std) & (known.max > known.mean + 2 * known.std)
        off = np.abs(found.mean(0) - known.mean) / np.maximum(known.std, 1e-30)
        assert (np.where(inside, off, 0) < 0.1).all(), name


def test_checkpoint_without_statistics_is_tried_on_synthetic_columns(make, tmp_path):
    path = make()
    content = torch.load(path, weights_only=True)
    content["climsim"]["statistics"] = {}
    torch.save(content, path)
    assert load_emulator(export_model(path, tmp_path / "a.pt")).metadata["probes"] == "synthetic"


def test_weights_that_give_no_number_are_refused(make, tmp_path):
    path = make()
    content = torch.load(path, weights_only=True)
    name = next(k for k in content["state_dict"] if k.endswith("weight"))
    content["state_dict"][name][0] = float("nan")
    torch.save(content, path)
    with pytest.raises(ClimSimError, match=r"model\.pt: expected finite outputs .* found NaN"):
        export_model(path, tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()


def test_difference_sees_what_is_not_finite():
    a = torch.rand(2, OUTPUTS.size(LEVELS))
    b = a.clone()
    b[1, 3] = float("nan")
    assert relative_difference(a, b, LEVELS) == float("inf")
    assert relative_difference(b, b, LEVELS) == 0
    b[0, 3] += 1.0
    c = b.clone()
    c[0, 3] = 3.0
    assert relative_difference(b, c, LEVELS) > 0.1


def test_difference_of_a_value_near_zero_is_measured_by_those_of_other_columns():
    typical = torch.ones(5, OUTPUTS.size(LEVELS))
    a = typical[:1].clone()
    a[:, OUTPUTS.slice("cam_out_NETSW", LEVELS)] = 1e-3
    b = a + 1e-6
    assert relative_difference(a, b, LEVELS) == pytest.approx(1e-3, rel=0.1)
    assert relative_difference(a, b, LEVELS, typical) == pytest.approx(1e-6, rel=0.1)


def test_difference_sees_confidences():
    a = torch.ones(3, OUTPUTS.size(LEVELS) + TARGETS.size(LEVELS))
    b = a.clone()
    b[2, -1] = 1.5
    assert relative_difference(a, b, LEVELS) == 0.5


def test_unknown_precision_lists_the_known(make, tmp_path):
    with pytest.raises(ClimSimError, match=r"precision: expected one of float32, .* 'int8'"):
        ExportConfig(make(), tmp_path / "model.pt", precision="int8")


def test_former_word_of_a_precision_is_answered_by_the_present_one(make, tmp_path):
    with pytest.raises(ClimSimError, match=r"^precision: 'bf16' was renamed: write bfloat16$"):
        export_model(make(), tmp_path / "model.pt", precision="bf16")


def test_wrong_width_is_named(make, tmp_path):
    emulator = load_emulator(export_model(make(), tmp_path / "model.pt"))
    with pytest.raises(ClimSimError, match=rf"\(column, {emulator.n_inputs}\) for interface v2"):
        emulator(np.zeros((3, 5), np.float32))


def corrupt(path, tmp_path, **changes):
    """The same module under changed metadata."""
    extra = {METADATA_NAME: ""}
    module = torch.jit.load(str(path), _extra_files=extra)
    metadata = {**json.loads(extra[METADATA_NAME]), **changes}
    other = tmp_path / "other.pt"
    torch.jit.save(module, str(other), _extra_files={METADATA_NAME: json.dumps(metadata)})
    return other


def test_wrong_interface_in_the_metadata_is_found_out(make, tmp_path):
    path = export_model(make(), tmp_path / "model.pt")
    with pytest.raises(
        ClimSimError, match=r"other\.pt: expected a model with the interface v2 or v6"
    ):
        load_emulator(corrupt(path, tmp_path, door="v9"))
    with pytest.raises(ClimSimError, match=r"other\.pt: expected interface v6 at 24 levels"):
        load_emulator(corrupt(path, tmp_path, door="v6"))
    with pytest.raises(ClimSimError, match=r"other\.pt: expected interface v2 at 60 levels"):
        load_emulator(corrupt(path, tmp_path, n_levels=60))


class Foreign(torch.nn.Module):
    def __init__(self, n_outputs: int):
        super().__init__()
        self.n_outputs = n_outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1].expand(-1, self.n_outputs).contiguous() + 0 * x[:, 556:557]


def test_torchscript_made_elsewhere_is_taken_by_its_interface(tmp_path, caplog):
    path = tmp_path / "foreign.pt"
    torch.jit.save(torch.jit.script(Foreign(368)), str(path))
    emulator = load_emulator(path)
    assert (emulator.interface, emulator.n_levels, emulator.confidence) == (V2, 60, False)
    assert "no metadata.json inside" in caplog.text
    assert emulator(np.ones((3, 557), np.float32)).shape == (3, 368)


def test_foreign_or_damaged_files_are_one_line(make, tmp_path):
    path = tmp_path / "foreign.pt"
    torch.jit.save(torch.jit.script(Foreign(100)), str(path))
    with pytest.raises(ClimSimError, match="fits neither"):
        load_emulator(path)
    whole = export_model(make(), tmp_path / "model.pt").read_bytes()
    for content in (whole[:2000], whole[: len(whole) // 2], b"", b"not a model"):
        path.write_bytes(content)
        with pytest.raises(ClimSimError, match=r"foreign\.pt: expected a TorchScript") as error:
            load_emulator(path)
        assert "\n" not in str(error.value)
    with pytest.raises(ClimSimError, match="no such model"):
        load_emulator(tmp_path / "nothing.pt")


class Hanging(Foreign):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = x.sum()
        while bool(total == total):
            total = total + 1
        return total


class Sized(torch.nn.Module):
    """Gives as many rows as its second input column says, where that is no probe."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.shape[0] if x.shape[0] == 2 else 1
        return x[:rows, :368].contiguous()


class Doubled(Foreign):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x[:, :368], x[:, :368]


class Exact(Foreign):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :368].to(torch.float64)


def scripted(module, path):
    torch.jit.save(torch.jit.script(module), str(path))
    return path


def test_torchscript_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 1)
    path = scripted(Hanging(368), tmp_path / "hanging.pt")
    with pytest.raises(ClimSimError, match=r"no answer within 1 s: .*only if you trust it"):
        load_emulator(path)


@pytest.mark.parametrize(
    ("module", "found"),
    [(Doubled(368), "a tuple instead of one tensor"), (Exact(368), "a float64 tensor of shape")],
)
def test_torchscript_that_fits_no_interface_says_what_it_gives(tmp_path, module, found):
    with pytest.raises(ClimSimError, match=rf"fits neither \(557 inputs: {found}"):
        load_emulator(scripted(module, tmp_path / "foreign.pt"))


def test_output_of_another_shape_is_refused_at_every_call(tmp_path):
    emulator = load_emulator(scripted(Sized(), tmp_path / "sized.pt"))
    assert emulator(np.ones((2, 557), np.float32)).shape == (2, 368)
    with pytest.raises(
        ClimSimError, match=r"sized\.pt: expected output of shape \(5, 368\).*\(1, 368"
    ):
        emulator(np.ones((5, 557), np.float32))


def test_checkpoint_that_does_not_fit_its_network_lists_the_tensors(make, tmp_path):
    path = make()
    content = torch.load(path, weights_only=True)
    state = content["state_dict"]
    name = next(k for k in state if k.startswith("network.") and state[k].ndim == 3)
    state["network.surplus"] = torch.zeros(2)
    state[name] = state[name][:1]
    torch.save(content, path)
    with pytest.raises(ClimSimError, match=r"extra surplus.* of shape \(1, ") as error:
        export_model(path, tmp_path / "model.pt")
    assert "\n" not in str(error.value)


def test_file_that_is_no_checkpoint_is_named(tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ClimSimError, match=r"model\.ckpt: expected a checkpoint of this package"):
        export_model(path, tmp_path / "model.pt")


def test_exported_model_in_place_of_its_checkpoint_is_named(make, tmp_path):
    path = export_model(make(), tmp_path / "model.pt")
    with pytest.raises(ClimSimError, match=r"found an exported model \(TorchScript file\): give"):
        export_model(path, tmp_path / "again.pt")


@pytest.mark.slow
def test_file_runs_a_high_resolution_grid_at_once(make, tmp_path):
    emulator = load_emulator(export_model(make(), tmp_path / "model.pt"))
    x = np.tile(vector(samples(LEVELS, 50), V2.variables).numpy(), (432, 1))
    assert len(x) == 21600
    y = emulator(x)
    first, last = torch.as_tensor(y[:50]), torch.as_tensor(y[-50:])
    assert relative_difference(first, last, LEVELS) < 1e-5
