"""Published checkpoints: parameter counts, golden outputs, archives, misfits."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
import torch

import climsim
from climsim.errors import ClimSimError
from climsim.networks.published import published_tensors
from tests.golden_weights import (
    GOLDEN,
    INPUTS,
    formula_input,
    formula_state,
    golden_cases,
    golden_shapes,
)

PARAMETERS = {
    "unet": (12_975_373, 12_980_634, 12_981_517, 12_981_517),
    "squeezeformer": (44_785_225, 44_811_862, 44_791_369, 44_791_369),
    "pure_resLSTM": (15_395_341, 15_402_010, 15_428_109, 15_428_109),
    "pao_model": (18_876_133, 25_407_346, 18_880_613, 18_880_373),
    "convnext": (26_805_429, 26_839_242, 26_811_573, 26_811_573),
    "encdec_lstm": (18_582_976, 20_723_124, 21_004_960, 21_004_960),
}
RECIPES = ("default", "conf_loss", "multirep", "v6")


def options_of(recipe: str) -> dict:
    return {"inputs": INPUTS[recipe], "confidence": recipe == "conf_loss"}


def published_shapes(name: str, options: dict) -> dict[str, list[int]]:
    """Shapes a published checkpoint of these options holds, constants included."""
    with torch.device("meta"):
        network = climsim.build_network(name, **options)
    tensors = {**published_tensors(network), **network.body.published_constants()}
    return {key: list(value.shape) for key, value in tensors.items()}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", PARAMETERS)
def test_published_parameter_count(name, recipe):
    with torch.device("meta"):
        network = climsim.build_network(name, **options_of(recipe))
    count = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert count == PARAMETERS[name][RECIPES.index(recipe)]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", PARAMETERS)
def test_published_names_and_shapes_are_those_of_the_checkpoints(name, recipe):
    expected = golden_shapes()[f"{name}-{recipe}"]["state"]
    assert published_shapes(name, options_of(recipe)) == expected


@pytest.mark.parametrize("case", golden_cases())
def test_golden_output_is_reproduced(case):
    index = golden_cases()[case]
    options = options_of(index["recipe"]) | index["hyperparameters"]
    state = formula_state(published_shapes(index["arch"], options))
    network = climsim.load_published(state, index["arch"], **options)
    single = outputs_of(network, torch.float32)
    double = outputs_of(network, torch.float64)
    with np.load(GOLDEN / f"{case}.npz") as golden:
        assert len(golden.files) == len(single)
        for key, got, exact in zip(("prediction", "confidence"), single, double, strict=False):
            # Single precision alone moves the deepest networks by more than 1e-5, by an amount
            # that depends on the number of threads and on the processor.
            rounding = largest(got - exact, golden[key])
            assert rounding < 5e-4, key
            assert largest(got - golden[key], golden[key]) < 1e-5 + rounding, key


def outputs_of(network, precision):
    network = network.to(precision)
    with torch.no_grad():
        output = network(formula_input(4, network.n_inputs).to(precision))
    return [x.numpy() for x in (output if isinstance(output, tuple) else (output,))]


def largest(difference, expected):
    return np.abs(difference).max() / np.abs(expected).max()


SMALL = {"model_channels": 16, "num_blocks": 1}


def small_state() -> dict[str, torch.Tensor]:
    return formula_state(published_shapes("unet", SMALL))


def weights_file(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def write_checkpoint(path, form: str, weights: bytes) -> None:
    arguments = json.dumps({"__name__": "ClimsimUnet", "__args__": {}}).encode()
    members = {"args.json": arguments, "model.pt": weights, "metadata.json": b"{}"}
    if form == "tar":
        with tarfile.open(path, "w") as archive:
            for name, content in members.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    elif form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        path.write_bytes(weights)


@pytest.mark.parametrize("form", ["tar", "zip", "plain"])
def test_every_form_of_checkpoint_loads_alike(tmp_path, form):
    state = small_state()
    path = tmp_path / "published.mdlus"
    write_checkpoint(path, form, weights_file(state))
    x = formula_input(3, 557)
    with torch.no_grad():
        from_file = climsim.load_published(path, "unet", **SMALL)(x)
        from_state = climsim.load_published(state, "unet", **SMALL)(x)
    assert torch.equal(from_file, from_state)


@pytest.mark.parametrize("prefix", ["module.", "model."])
def test_prefixes_of_wrappers_are_removed(tmp_path, prefix):
    state = {"state_dict": {prefix + k: v for k, v in small_state().items()}}
    path = tmp_path / "wrapped.ckpt"
    path.write_bytes(weights_file(state))
    x = formula_input(2, 557)
    with torch.no_grad():
        got = climsim.load_published(path, "unet", **SMALL)(x)
        assert torch.equal(got, climsim.load_published(small_state(), "unet", **SMALL)(x))


def test_every_misfit_is_listed():
    state = small_state()
    del state["enc.64_conv.weight"], state["dec.8_in0.qkv.bias"]
    state["enc.64_conv.bias"] = torch.zeros(15)
    state["enc.32_block0.conv1.bias"] = torch.zeros(3, 2)
    state["map_noise.weight"] = torch.zeros(1)
    state["skip_conv_layer.1.weight"] = 2 * state["skip_conv_layer.1.weight"]
    with pytest.raises(ClimSimError) as error:
        climsim.load_published(state, "unet", **SMALL)
    message = str(error.value)
    for part in (
        "2 missing: dec.8_in0.qkv.bias, enc.64_conv.weight;",
        "1 extra: map_noise.weight;",
        "2 misshapen: enc.32_block0.conv1.bias expected (32,), found (3, 2), enc.64_conv.bias",
        "1 not the constant it should be: skip_conv_layer.1.weight",
    ):
        assert part in message
    assert "\n" not in message


def test_the_network_a_checkpoint_belongs_to_is_named():
    shapes = published_shapes("pure_resLSTM", {"inputs": "expanded", "confidence": True})
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    # Both encodings have 42 features on each level: the weights alone do not tell them apart.
    fits = [f"network=pure_resLSTM inputs={i} confidence=True" for i in ("multirep", "expanded")]
    with pytest.raises(ClimSimError, match=f"it fits {' or '.join(fits)}"):
        climsim.load_published(state, "pure_resLSTM")


class _Payload:
    """Creates a file when it is unpickled: what a hostile checkpoint would do."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("form", ["tar", "zip", "plain"])
def test_code_in_a_checkpoint_is_not_run(tmp_path, form):
    marker = tmp_path / "ran"
    path = tmp_path / "hostile.mdlus"
    weights = weights_file({"enc.64_conv.weight": torch.zeros(1), "x": _Payload(str(marker))})
    write_checkpoint(path, form, weights)
    with pytest.raises(ClimSimError, match="cannot be read safely"):
        climsim.load_published(path, "unet")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no checkpoint at all", "cannot be read safely"),
        (pickle.dumps([1, 2], protocol=2), "cannot be read safely|expected a state dict"),
        (b"", "cannot be read safely"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content, message):
    path = tmp_path / "broken.mdlus"
    path.write_bytes(content)
    with pytest.raises(ClimSimError, match=message) as error:
        climsim.load_published(path, "unet")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_truncated_archive_is_named(tmp_path):
    path = tmp_path / "cut.mdlus"
    write_checkpoint(path, "tar", weights_file(small_state()))
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(ClimSimError, match=r"cut\.mdlus"):
        climsim.load_published(path, "unet", **SMALL)


def test_an_archive_without_weights_lists_what_it_holds(tmp_path):
    path = tmp_path / "empty.mdlus"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("args.json"), io.BytesIO(b""))
    message = r"expected an archive with the file model.pt \(no link\), found args.json"
    with pytest.raises(ClimSimError, match=message):
        climsim.load_published(path, "unet")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ClimSimError, match=r"absent\.mdlus: no such file"):
        climsim.load_published(tmp_path / "absent.mdlus", "unet")


def test_new_pao_models_do_not_scramble_levels_and_variables():
    options = {"hidden_profile_num": 16, "hidden_scalar_num": 16}
    torch.manual_seed(1)
    new = climsim.build_network("pao_model", **options).eval()
    old = climsim.build_network("pao_model", published_layout=True, **options).eval()
    old.load_state_dict(new.state_dict())
    x = formula_input(2, 557)
    with torch.no_grad():
        straight = new.heads(x)[:, 0, :300].reshape(2, 5, 60)
        scrambled = old.heads(x)[:, 0, :300].reshape(2, 60, 5).transpose(1, 2)
    # Pruning zeroes other places in each order: compare where neither does.
    kept = (straight != 0) & (scrambled != 0)
    assert kept.float().mean() > 0.6
    assert torch.equal(straight[kept], scrambled[kept])
