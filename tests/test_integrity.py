"""Weights and metrics that changed after they were written are not used."""

from __future__ import annotations

import logging

import netCDF4
import numpy as np
import pytest
import torch
import xarray

from climsim.cards import FORMAT
from climsim.errors import ClimSimError
from climsim.export.loading import load_emulator
from climsim.integrity import check_netcdf
from climsim.netcdf import write_netcdf
from climsim.networks.published import read_state
from climsim.training.checkpoint import KEY, read_checkpoint


def flips(path, count=40):
    """The file with one bit flipped, at places all over it; whole again at the end."""
    whole, rng = path.read_bytes(), np.random.default_rng(5)
    for position in rng.choice(len(whole), count, replace=False):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        yield
    path.write_bytes(whole)


def refusals(path, read, same):
    """Messages of the flips that were refused; the others must change nothing."""
    whole, messages = read(path), []
    for _ in flips(path):
        try:
            assert same(read(path), whole)
        except ClimSimError as error:
            messages.append(str(error))
    assert all("\n" not in text and str(path) in text for text in messages)
    return messages


def equal(first, second):
    return all(torch.equal(first[k], second[k]) for k in second)


def test_no_flipped_bit_of_a_checkpoint_gives_other_weights(tmp_path):
    path = tmp_path / "a.ckpt"
    about = {
        "format": FORMAT,
        "network": {"name": "unet", "inputs": "v2", "confidence": False, "n_levels": 60},
        "transforms": {"kind": "v2", "n_levels": 60, "bounded": True, "fill_to_zero": False},
        "config": {},
        "provenance": {},
    }
    torch.save({"state_dict": {"w": torch.randn(500)}, KEY: about}, path)
    messages = refusals(path, lambda p: read_checkpoint(p)["state_dict"], equal)
    assert sum("does not fit its checksum" in text for text in messages) > 15


def test_no_flipped_bit_of_published_weights_gives_other_weights(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"w": torch.randn(500)}, path)
    assert len(refusals(path, read_state, equal)) > 15


def test_damaged_exported_model_is_refused_before_it_runs(tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(557, 368)), str(path))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    path.write_bytes(flipped)
    with pytest.raises(ClimSimError, match=r"damaged after it was written .*fit its checksum"):
        load_emulator(path)


def metrics():
    rng = np.random.default_rng(2)
    return xarray.Dataset(
        {
            "r2": (("variable", "level"), rng.normal(size=(3, 40)), {"units": "1"}),
            "days": ("variable", np.array([1, 2, 3])),
        },
        {"variable": ["a", "bb", "ccc"]},
        {"member": "unet", "samples": 7, "weights": [0.5, 1.5]},
    )


def test_no_flipped_bit_of_metrics_passes(tmp_path):
    path = tmp_path / "m.nc"
    write_netcdf(metrics(), path, checked=True)

    def read(file):
        check_netcdf(file)
        with xarray.open_dataset(file) as dataset:
            loaded = dataset.load()
        del loaded.attrs["checksum"]
        return loaded

    assert read(path).identical(metrics())
    for _ in flips(path):
        try:
            assert read(path).identical(metrics())
        except (ClimSimError, KeyError, ValueError):
            continue


@pytest.mark.parametrize(
    "edit",
    [
        lambda file: file.setncattr("member", "other"),
        lambda file: file["r2"].setncattr("units", "%"),
        lambda file: file["r2"].__setitem__((1, 2), 0.99),
        lambda file: file["variable"].__setitem__(0, "b"),
        lambda file: file.renameVariable("r2", "bias"),
    ],
)
def test_edited_metrics_are_refused(tmp_path, edit):
    path = tmp_path / "m.nc"
    write_netcdf(metrics(), path, checked=True)
    with netCDF4.Dataset(path, "a") as file:
        edit(file)
    with pytest.raises(ClimSimError, match=r"m\.nc: was damaged or edited after it was written"):
        check_netcdf(path)


def test_metrics_without_a_checksum_are_read_with_a_warning(tmp_path, caplog):
    write_netcdf(metrics(), tmp_path / "m.nc")
    with caplog.at_level(logging.WARNING):
        check_netcdf(tmp_path / "m.nc")
    assert "m.nc: has no checksum" in caplog.text
