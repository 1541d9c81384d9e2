"""Files that are not what they seem are refused in one line, before memory or stack run out."""

import json
import tarfile

import netCDF4
import pytest
import torch

from climsim.data.raw.step_file import read_fields
from climsim.data.raw.steps import read_grid_info
from climsim.data.statistics.statistics import Statistics
from climsim.errors import ClimSimError
from climsim.evaluation.saved import open_metrics
from climsim.networks.published import read_state
from climsim.provenance import trace
from climsim.training.checkpoint import KEY, load_model

NETWORK = {"name": "unet", "inputs": "standard", "confidence": False, "n_levels": 10}
TRANSFORMS = {"kind": "standard", "n_levels": 10, "bounded": False, "fill_to_zero": True}
ABOUT = {
    "format": 1,
    "network": NETWORK,
    "transforms": TRANSFORMS,
    "config": {},
    "provenance": {},
}


def huge(path, *names):
    """A small file whose variables would take 36 GiB each."""
    with netCDF4.Dataset(path, "w") as file:
        for axis in ("lev", "ncol"):
            file.createDimension(axis, 70_000)
        for name in names:
            file.createVariable(name, "f8", ("lev", "ncol"), chunksizes=(1000, 1000), zlib=True)
    assert path.stat().st_size < 20_000
    return path


def read_metrics(path):
    with open_metrics(path):
        pass


@pytest.mark.parametrize(
    ("read", "names"),
    [
        (lambda path: read_fields(path, ("state_t",)), ("state_t",)),
        (read_grid_info, ("lat", "lon", "area", "hyam", "hybm", "hyai", "hybi")),
        (Statistics.open, ("mean", "std")),
        (read_metrics, ("r2_mean",)),
    ],
    ids=["step file", "grid", "statistics", "metrics"],
)
def test_file_that_declares_more_than_it_can_hold_is_refused_unread(tmp_path, read, names):
    path = huge(tmp_path / "huge.nc", *names)
    with pytest.raises(ClimSimError, match=r"huge\.nc: .*declares [0-9.]+ GiB"):
        read(path)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (5, "expected checkpoint format 1, found None"),
        ({"format": 1}, "missing value for field .network"),
        (ABOUT | {"network": NETWORK | {"name": ["unet"]}}, "wrong value type for field"),
        (ABOUT | {"transforms": TRANSFORMS | {"n_levels": -3}}, "expected 1 or more levels"),
        (ABOUT | {"network": NETWORK | {"depth_of_nothing": 3}}, "hyperparameter"),
    ],
)
def test_checkpoint_of_another_form_is_refused(tmp_path, about, message):
    path = tmp_path / "odd.ckpt"
    torch.save({"state_dict": {}, KEY: about}, path)
    with pytest.raises(ClimSimError, match=message):
        load_model(path)


def test_checkpoint_whose_weights_have_no_names_is_refused(tmp_path):
    path = tmp_path / "odd.ckpt"
    torch.save({"state_dict": 3, KEY: ABOUT}, path)
    with pytest.raises(ClimSimError, match="expected weights by name"):
        load_model(path)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/hostname"),
        (tarfile.SYMTYPE, "model.pt"),
        (tarfile.LNKTYPE, "nowhere"),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_link_in_a_published_archive_is_not_followed(tmp_path, kind, target):
    path = tmp_path / "linked.mdlus"
    member = tarfile.TarInfo("model.pt")
    member.type, member.linkname = kind, target
    with tarfile.open(path, "w") as archive:
        archive.addfile(member)
    with pytest.raises(ClimSimError, match=r"with the file model\.pt \(no link"):
        read_state(path)


def write_record(folder, made_by):
    folder.mkdir()
    (folder / "record.json").write_text(json.dumps({"made_by": made_by}))
    return folder


def test_product_that_names_itself_is_followed_once(tmp_path):
    hashes = json.dumps({"run": "abc"})
    run = write_record(tmp_path / "run", {"git_revision": "1", "input_hashes": hashes})
    product = trace(run)
    assert [link.name for link in product.inputs] == ["run"]
    assert product.inputs[0].product is None


def test_products_that_name_each_other_are_followed_once(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        hashes = json.dumps({other: "abc"})
        write_record(tmp_path / name, {"git_revision": "1", "input_hashes": hashes})
    assert [link.name for link in trace(tmp_path / "a").links()] == ["b", "a"]


def test_provenance_that_is_no_json_is_one_line(tmp_path):
    run = write_record(tmp_path / "run", {"git_revision": "1", "input_hashes": "{"})
    with pytest.raises(ClimSimError, match="run: its record of how it was made is not valid JSON"):
        trace(run)
