"""The chain of what made a product, from products that carry real attributes."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import xarray
from click.testing import CliRunner

from climsim.cli import main_group
from climsim.errors import ClimSimError
from climsim.files import environment, file_hash, provenance, write_json
from climsim.netcdf import write_netcdf
from climsim.provenance import CHANGED, MISSING, NOT_KEPT, UNCHANGED, as_json, trace, tree


def netcdf(path, config, inputs, **attributes):
    data = xarray.Dataset({"x": ("column", np.arange(3.0))}, attrs=attributes)
    write_netcdf(data.assign_attrs(provenance(config, inputs)), path)


@pytest.fixture
def study(tmp_path):
    """Store, statistics, exported model and offline metrics that name each other."""
    store = tmp_path / "store.zarr"
    store.mkdir()
    made_by = provenance({"raw": "raw"}, {"raw": "0123"})
    attributes = {**made_by, "fingerprint": "abc"}
    write_json(store / "zarr.json", {"attributes": attributes})
    marks = {"store_fingerprint": "abc", "fingerprint": "def"}
    netcdf(tmp_path / "statistics.nc", {"split": "train"}, {"store": "abc"}, **marks)
    (tmp_path / "models").mkdir()
    model = tmp_path / "models" / "unet.pt"
    about = provenance({"data": {"statistics": "statistics.nc"}}, {"statistics": "def"})
    with zipfile.ZipFile(model, "w") as archive:
        archive.writestr("unet/extra/metadata.json", json.dumps(about))
    (tmp_path / "offline").mkdir()
    config = {"model": "models/unet.pt", "store": "store.zarr"}
    hashes = {"models/unet.pt": file_hash(model), "store": "abc"}
    netcdf(tmp_path / "offline" / "unet.nc", config, hashes)
    return tmp_path


def states(product):
    return {link.name: link.state for link in product.links()}


def test_chain_goes_back_to_the_raw_data(study):
    product = trace(study / "offline" / "unet.nc")
    assert (product.kind, product.ok) == ("offline metrics", True)
    assert states(product) == {
        "models/unet.pt": UNCHANGED,
        "store": UNCHANGED,
        "statistics": UNCHANGED,
        "raw": MISSING,
    }
    model = product.inputs[0].product
    assert model.kind == "exported model"
    assert [link.product.kind for link in model.inputs] == ["statistics"]
    assert model.environment == environment()
    assert "numpy" in model.environment


def test_product_is_known_by_what_it_holds_whatever_its_name(study):
    for path, kind in (
        (study / "offline" / "unet.nc", "offline metrics"),
        (study / "statistics.nc", "statistics"),
        (study / "models" / "unet.pt", "exported model"),
    ):
        assert trace(path.rename(path.with_suffix(".saved"))).kind == kind


def test_picture_beside_an_index_is_a_figure_and_any_other_file_is_none(tmp_path):
    write_json(tmp_path / "index.json", {"figures": [], **provenance({}, {})})
    (tmp_path / "map.png").write_bytes(b"\x89PNG and more")
    (tmp_path / "notes.txt").write_text("not drawn")
    assert trace(tmp_path / "map.png").kind == "figure"
    assert trace(tmp_path / "index.json").kind == "figures"
    with pytest.raises(ClimSimError, match="does not say what made it"):
        trace(tmp_path / "notes.txt")


def test_changed_input_is_seen_however_deep_it_lies(study):
    marks = {"store_fingerprint": "abc", "fingerprint": "other"}
    netcdf(study / "statistics.nc", {"split": "train"}, {"store": "abc"}, **marks)
    product = trace(study / "offline" / "unet.nc")
    assert states(product)["statistics"] == CHANGED
    assert not product.ok
    result = CliRunner().invoke(main_group, ["provenance", str(study / "offline" / "unet.nc")])
    assert result.exit_code == 1


def test_inputs_are_found_after_the_folder_has_moved(study, tmp_path):
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    study.rename(moved)
    assert states(trace(moved / "offline" / "unet.nc"))["store"] == UNCHANGED


def test_missing_input_is_shown_and_is_no_change(study):
    (study / "models" / "unet.pt").unlink()
    product = trace(study / "offline" / "unet.nc")
    assert states(product)["models/unet.pt"] == MISSING
    assert product.ok


def test_statistics_that_training_computed_are_not_called_missing(tmp_path):
    config = {"data": {"statistics": None, "store": "gone.zarr"}}
    netcdf(tmp_path / "made.nc", config, {"statistics": "abc", "store": "def"})
    assert states(trace(tmp_path / "made.nc")) == {"statistics": NOT_KEPT, "store": MISSING}


def test_json_holds_the_whole_chain(study):
    values = json.loads(as_json(trace(study / "offline" / "unet.nc")))
    assert values["inputs"][0]["product"]["inputs"][0]["state"] == UNCHANGED
    assert values["configuration"]["store"] == "store.zarr"


def test_tree_names_every_product_once_per_place(study):
    from rich.console import Console

    console = Console(width=200)
    with console.capture() as capture:
        console.print(tree(trace(study / "offline" / "unet.nc")))
    shown = capture.get()
    assert shown.count("exported model") == 1
    assert "settings: model=models/unet.pt, store=store.zarr" in shown


def test_what_says_nothing_is_refused_in_one_line(tmp_path):
    with pytest.raises(ClimSimError, match="no such file or folder"):
        trace(tmp_path / "none.nc")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ClimSimError, match="does not say what made it"):
        trace(tmp_path / "a.txt")
    (tmp_path / "b.nc").write_text("no netCDF")
    with pytest.raises(ClimSimError, match="expected netCDF, found something else"):
        trace(tmp_path / "b.nc")


def test_own_network_and_loss_are_found_by_the_reference_in_the_settings(tmp_path):
    code = tmp_path / "code" / "own.py"
    code.parent.mkdir()
    code.write_text("x = 1")
    config = {"network": {"name": f"{code}:Net"}, "recipe": {"loss": "elsewhere/own.py:cubic"}}
    inputs = {"network": file_hash(code), "loss": file_hash(code)}
    netcdf(tmp_path / "made.nc", config, inputs)
    assert states(trace(tmp_path / "made.nc")) == {"network": UNCHANGED, "loss": MISSING}
    # Beside the product it is found by its name.
    (tmp_path / "own.py").write_text("x = 1")
    assert states(trace(tmp_path / "made.nc"))["loss"] == UNCHANGED
    code.write_text("x = 2")
    assert states(trace(tmp_path / "made.nc"))["network"] == CHANGED


def test_lines_in_a_pipe_are_whole(study):
    command = [sys.executable, "-m", "climsim", "provenance", str(study / "offline" / "unet.nc")]
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "40"}
    shown = subprocess.run(command, capture_output=True, text=True, env=environment).stdout
    assert "settings: model=models/unet.pt, store=store.zarr" in shown
    assert str(study / "store.zarr") in shown


def test_damaged_neighbour_does_not_end_the_search_for_a_moved_input(study):
    (study / "store.zarr").rename(study / "renamed.zarr")
    (study / "damaged.zarr").mkdir()
    (study / "damaged.zarr" / "zarr.json").write_text("{")
    product = trace(study / "offline" / "unet.nc")
    assert states(product)["store"] == UNCHANGED
