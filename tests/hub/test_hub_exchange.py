"""A model and a store go to a local Hub and come back as they were."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from climsim.data.raw.config import DownloadConfig
from climsim.data.store.config import VerifyConfig
from climsim.data.store.opened import open_store
from climsim.data.store.verify import verify
from climsim.errors import ClimSimError
from climsim.evaluation.config import OfflineConfig
from climsim.evaluation.offline import evaluate_offline
from climsim.files import file_hash
from climsim.hub.config import PullConfig, PushConfig
from climsim.hub.pull import pull
from climsim.hub.push import push
from tests.evaluation_synthetic import write_store
from tests.exported_synthetic import LEVELS, write_model
from tests.hub_server import writable_hub

LICENCE = "cc-by-4.0"


@pytest.fixture
def hub(monkeypatch):
    # The local server keeps large files as Git LFS does; the Hub's newer store has no such server.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with writable_hub() as server:
        yield server


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    folder = tmp_path_factory.mktemp("products")
    model = write_model(folder / "one.pt", 1)
    store = write_store(folder / "store.zarr", levels=LEVELS)
    offline = evaluate_offline(
        OfflineConfig(model, store.path, folder / "offline.nc", allow_nan=True)
    )
    (folder / "figures").mkdir()
    (folder / "figures" / "skill_by_level.png").write_bytes(b"\x89PNG picture")
    return folder, model, store, offline


def test_a_model_comes_back_with_its_card(hub, products, tmp_path):
    folder, model, _, offline = products
    address = push(
        PushConfig(model, "me/pao", LICENCE, offline, folder / "figures", endpoint=hub.address)
    )
    assert address == f"{hub.address}/me/pao"
    assert hub.private["me/pao"]
    out = pull(PullConfig("me/pao", tmp_path / "pao", endpoint=hub.address))
    assert file_hash(out / "model.pt") == file_hash(model)
    names = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    pictures = "figures/skill_by_level.png"
    assert names == ["README.md", pictures, "hub.json", "model.pt", "offline.nc"]
    card = (out / "README.md").read_text()
    front, _, text = card.removeprefix("---\n").partition("---\n")
    assert f'license: "{LICENCE}"' in front
    assert "# pao_model" in text
    assert "| seed | 1 |" in text
    assert "| replaced processes | unknown |" in text
    assert "| physics tendency of temperature (`ptend_t`) | -" in text or "`ptend_t`) |" in text
    assert f"`{file_hash(model)}`" in text
    assert "![skill by level](figures/skill_by_level.png)" in text
    assert "<summary>configuration</summary>" in text
    assert "climsim hub pull repo=me/pao out=pao" in text
    assert str(folder) not in text
    assert set(hub.large) == {file_hash(path) for path in (model, offline)}
    assert [p.name for p in tmp_path.iterdir()] == ["pao"]


def test_a_store_comes_back_whole(hub, products, tmp_path, monkeypatch):
    monkeypatch.setattr("climsim.hub.push._FILES_AT_ONCE", 40)
    store = products[2]
    seen = []
    address = push(
        PushConfig(store.path, "me/data", LICENCE, endpoint=hub.address),
        lambda *counts: seen.append(counts),
    )
    assert address.endswith("/datasets/me/data")
    assert seen[-1][0] == seen[-1][1]
    assert hub.commits == len(seen) > 1
    settings = PullConfig("me/data", tmp_path / "s.zarr", "store", endpoint=hub.address)
    back = open_store(pull(settings))
    assert back.fingerprint == store.fingerprint
    np.testing.assert_array_equal(back.array("state_t")[...], store.array("state_t")[...])
    assert verify(VerifyConfig(back.path)).ok
    card = hub.files["datasets", "me/data"]["README.md"].decode()
    assert f"| columns | {store.n_columns} |" in card
    assert store.fingerprint in card


def test_what_an_earlier_model_left_is_deleted_and_other_files_stay(hub, products):
    folder, model, _, offline = products
    full = PushConfig(model, "me/pao", LICENCE, offline, folder / "figures", endpoint=hub.address)
    push(full)
    files = hub.files["models", "me/pao"]
    own = {"model.onnx.md", "figures/old/a.png", "figures/notes.txt", "model.safetensors"}
    files |= dict.fromkeys({*own, "model.onnx"}, b"x")
    commits = hub.commits
    push(PushConfig(model, "me/pao", LICENCE, endpoint=hub.address))
    assert set(files) == {"README.md", "model.pt", *own}
    assert hub.commits == commits + 1
    push(full)
    assert set(files) == {"README.md", "model.pt", "offline.nc", "figures/skill_by_level.png", *own}


def test_shards_of_an_earlier_store_are_deleted(hub, products, tmp_path):
    store = products[2]
    settings = PushConfig(store.path, "me/data", LICENCE, endpoint=hub.address)
    push(settings)
    files = hub.files["datasets", "me/data"]
    now = set(files)
    files |= {"state_t/c.99.0": b"x", "scripts/make.py": b"x"}
    push(settings)
    assert set(files) == {*now, "scripts/make.py"}
    out = pull(PullConfig("me/data", tmp_path / "s.zarr", "store", endpoint=hub.address))
    assert open_store(out).fingerprint == store.fingerprint


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_the_present_folder_is_not_replaced_by_a_download(
    hub, products, tmp_path, monkeypatch, out
):
    push(PushConfig(products[1], "me/pao", LICENCE, endpoint=hub.address))
    here = tmp_path / "above" / "empty"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(ClimSimError, match=r"^out=\S+: expected a new folder, .* the present one"):
        pull(PullConfig("me/pao", Path(out), endpoint=hub.address))
    assert list(tmp_path.rglob("*")) == [here.parent, here]


def test_a_download_that_broke_off_continues_and_leaves_nothing_half(hub, products, tmp_path):
    push(PushConfig(products[1], "me/pao", LICENCE, endpoint=hub.address))
    settings = PullConfig("me/pao", tmp_path / "pao", endpoint=hub.address)
    hub.spoil.add("model.pt")
    with pytest.raises(ClimSimError, match=r"model\.pt: its content is not what me/pao announces"):
        pull(settings)
    assert not (tmp_path / "pao").exists()
    hub.spoil.clear()
    assert file_hash(pull(settings) / "model.pt") == file_hash(products[1])
    assert [p.name for p in tmp_path.iterdir()] == ["pao"]


def test_what_cannot_be_pushed_or_pulled_is_named(hub, products, tmp_path):
    folder, model, store, offline = products
    (tmp_path / "x.pt").write_bytes(b"no model")
    with pytest.raises(ClimSimError, match="expected an exported model or a prepared store"):
        push(PushConfig(tmp_path / "x.pt", "me/x", LICENCE, endpoint=hub.address))
    other = write_model(tmp_path / "two.pt", 2)
    both = OfflineConfig(model, store.path, tmp_path / "both.nc", members=(other,), allow_nan=True)
    for path, metrics in ((other, offline), (model, evaluate_offline(both))):
        with pytest.raises(
            ClimSimError, match=rf"expected metrics of {path} alone, found those of"
        ):
            push(PushConfig(path, "me/x", LICENCE, metrics, endpoint=hub.address))
    with pytest.raises(ClimSimError, match="expected a folder with PNG files, found none"):
        push(PushConfig(model, "me/x", LICENCE, figures=tmp_path, endpoint=hub.address))
    assert hub.files == {}
    with pytest.raises(ClimSimError, match=r"repo: expected owner/name, .* found 'unet'"):
        PushConfig(model, "unet", LICENCE)
    push(PushConfig(store.path, "me/data", LICENCE, endpoint=hub.address))
    with pytest.raises(ClimSimError, match=r"repo=me/data: no such repository at"):
        pull(PullConfig("me/data", tmp_path / "m", endpoint=hub.address))
    hub.files["models", "me/data"] = {"README.md": b""}
    with pytest.raises(ClimSimError, match=r"expected a model that .* found no model\.\*"):
        pull(PullConfig("me/data", tmp_path / "m", endpoint=hub.address))
    assert json.loads((folder / "store.zarr" / "zarr.json").read_text())


def test_another_branch_is_made_and_an_unknown_one_is_named(hub, products, tmp_path):
    push(PushConfig(products[1], "me/pao", LICENCE, revision="dev", endpoint=hub.address))
    assert hub.branches == {"main", "dev"}
    settings = PullConfig("me/pao", tmp_path / "pao", revision="v1", endpoint=hub.address)
    with pytest.raises(ClimSimError, match=r"me/pao: it has no such branch, .* give revision="):
        pull(settings)
    assert pull(replace(settings, revision="dev")).is_dir()


def test_files_of_a_download_of_something_else_do_not_stay(hub, products, tmp_path):
    push(PushConfig(products[1], "me/pao", LICENCE, endpoint=hub.address))
    push(
        PushConfig(
            products[1], "me/cnn", LICENCE, figures=products[0] / "figures", endpoint=hub.address
        )
    )
    hub.spoil.add("model.pt")
    with pytest.raises(ClimSimError, match="is not what me/cnn announces"):
        pull(PullConfig("me/cnn", tmp_path / "pao", endpoint=hub.address))
    assert (tmp_path / "pao.pulling" / "figures").is_dir()
    hub.spoil.clear()
    out = pull(PullConfig("me/pao", tmp_path / "pao", endpoint=hub.address))
    assert sorted(path.name for path in out.rglob("*")) == ["README.md", "hub.json", "model.pt"]


@pytest.mark.parametrize("taken", ["pao", "pao.pulling"])
def test_a_folder_of_the_users_own_with_a_model_is_not_replaced(hub, products, tmp_path, taken):
    push(PushConfig(products[1], "me/pao", LICENCE, endpoint=hub.address))
    own = tmp_path / taken
    own.mkdir()
    for name in ("model.pt", "README.md", "thesis.txt"):
        (own / name).write_text("mine")
    settings = PullConfig("me/pao", tmp_path / "pao", endpoint=hub.address)
    with pytest.raises(ClimSimError, match=r"^out=.*: expected a new or empty folder or a model"):
        pull(settings)
    assert {path.read_text() for path in own.iterdir()} == {"mine"}


def test_a_pulled_folder_is_replaced_until_a_file_of_the_users_own_lies_there(
    hub, products, tmp_path
):
    push(PushConfig(products[1], "me/pao", LICENCE, endpoint=hub.address))
    settings = PullConfig("me/pao", tmp_path / "pao", endpoint=hub.address)
    assert pull(settings) == pull(settings)
    (tmp_path / "pao" / "notes.txt").write_text("mine")
    with pytest.raises(ClimSimError, match=r"nothing beside it, but it holds notes\.txt: move"):
        pull(settings)
    assert (tmp_path / "pao" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("repo", ["pao", "me/my model", "me--/x", "me/a/b", "me/", ""])
def test_what_cannot_be_a_repository_is_refused_before_anything_is_asked(repo, tmp_path):
    for make in (
        lambda: PushConfig(tmp_path / "m.pt", repo, LICENCE),
        lambda: PullConfig(repo, tmp_path / "m"),
        lambda: DownloadConfig(tmp_path / "raw", repo),
    ):
        with pytest.raises(ClimSimError, match=r"^repo: expected owner/name, of letters"):
            make()


def test_an_address_without_its_scheme_and_an_empty_licence_are_refused(tmp_path):
    with pytest.raises(ClimSimError, match=r"^endpoint: expected an address that starts"):
        PullConfig("me/x", tmp_path / "m", endpoint="localhost:9")
    with pytest.raises(ClimSimError, match=r"^license: expected such as cc-by-4\.0, found ' '"):
        PushConfig(tmp_path / "m.pt", "me/x", " ")
