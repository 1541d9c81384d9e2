"""Download, against a local server that speaks the Hub's protocol far enough."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from http.server import ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub.hf_api import RepoFile

from climsim.data.raw.config import DownloadConfig
from climsim.data.raw.hub import download
from climsim.data.raw.steps import list_steps, read_step
from climsim.errors import ClimSimError
from tests.data.synthetic import write_record
from tests.hub_server import Answers

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "LEAP/ClimSim_test"


class Hub(ThreadingHTTPServer):
    """Serves a folder as a data set; counts requests, and can misbehave."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.gets: list[tuple[str, str | None]] = []
        self.cut: set[str] = set()
        self.spoil: set[str] = set()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(Answers):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        tree, files = f"/api/datasets/{REPO}/tree/main", f"/datasets/{REPO}/resolve/"
        if path.startswith(tree):
            self.listing(path.removeprefix(tree).strip("/"))
        elif path.startswith(files):
            self.file(path.removeprefix(files).split("/", 1)[1])
        else:
            self.answer(404, X_Error_Code="RepoNotFound")

    def listing(self, inside):
        folder = self.server.folder / inside
        if not folder.is_dir():
            self.answer(404, X_Error_Code="EntryNotFound")
            return
        entries = []
        for path in sorted(folder.iterdir()):
            name = str(path.relative_to(self.server.folder))
            if path.is_dir():
                entries.append({"type": "directory", "path": name, "oid": "0"})
            else:
                data = path.read_bytes()
                lfs = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data),
                       "pointerSize": 1}  # fmt: skip
                entries.append(
                    {"type": "file", "path": name, "size": len(data), "oid": "0", "lfs": lfs}
                )
        self.answer(200, json.dumps(entries).encode(), Content_Type="application/json")

    def file(self, name):
        path = self.server.folder / name
        if not path.is_file():
            self.answer(404, X_Error_Code="EntryNotFound")
            return
        data = path.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X_Repo_Commit": COMMIT,
            "Accept_Ranges": "bytes",
        }
        if self.command == "HEAD":
            self.answer(200, data, **headers)
            return
        asked = self.headers.get("Range")
        self.server.gets.append((name, asked))
        if name in self.server.spoil:
            data = bytes(len(data))
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        if asked:
            headers["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if name in self.server.cut:
            self.server.cut.discard(name)
            self.send_response(200)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.answer(206 if asked else 200, data[start:], **headers)


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "hub"
    write_record(folder / "train", [*range(140, 148)])
    (folder / "train/ClimSim_low-res_grid-info.nc").rename(folder / "ClimSim_low-res_grid-info.nc")
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def config(hub, tmp_path, **changes):
    values = {"repo": REPO, "endpoint": hub.address, "workers": 2, **changes}
    return DownloadConfig(tmp_path / "data", **values)


def test_all_months_and_the_grid_file_arrive_and_are_readable(hub, tmp_path):
    seen = []
    report = download(config(hub, tmp_path), lambda done, total: seen.append((done, total)))
    assert (report.files, report.present) == (17, 0)
    assert seen[-1][0] == seen[-1][1] == report.bytes
    steps = list_steps(tmp_path / "data")
    assert len(steps) == 8
    assert all(read_step(s.before).shape == (5, 7) for s in steps)
    assert (tmp_path / "data/ClimSim_low-res_grid-info.nc").is_file()


def test_months_and_stride_choose_files(hub, tmp_path):
    report = download(config(hub, tmp_path, months=("0001-03",), stride=2))
    steps = list_steps(tmp_path / "data")
    assert report.files == 5
    assert [s.before.name[-8:-3] for s in steps] == ["00000", "02400"]


def test_dry_run_says_sizes_and_downloads_nothing(hub, tmp_path):
    report = download(config(hub, tmp_path, dry_run=True))
    wanted = sum(p.stat().st_size for p in hub.folder.rglob("*.nc"))
    assert report.bytes == report.missing_bytes == wanted
    assert "would download 17 files" in str(report)
    assert not (tmp_path / "data").exists()
    assert hub.gets == []


def test_second_run_fetches_only_what_is_missing(hub, tmp_path):
    download(config(hub, tmp_path))
    hub.gets.clear()
    lost = list_steps(tmp_path / "data")[3].after
    lost.unlink()
    damaged = list_steps(tmp_path / "data")[5].after
    damaged.write_bytes(damaged.read_bytes()[:-7])
    report = download(config(hub, tmp_path))
    assert report.present == 15
    assert {name.rsplit("/", 1)[-1] for name, _ in hub.gets} == {lost.name, damaged.name}
    assert read_step(list_steps(tmp_path / "data")[5].before)


def test_cut_connection_is_mended(hub, tmp_path):
    name = next(p for p in hub.folder.rglob("*mli*")).relative_to(hub.folder).as_posix()
    hub.cut.add(name)
    try:
        download(config(hub, tmp_path))
    except ClimSimError:
        download(config(hub, tmp_path))
    assert (tmp_path / "data" / name).read_bytes() == (hub.folder / name).read_bytes()
    assert [got for got, _ in hub.gets].count(name) == 2


def test_wrong_content_is_refused_and_removed(hub, tmp_path):
    name = next(p for p in hub.folder.rglob("*mlo*")).relative_to(hub.folder).as_posix()
    hub.spoil.add(name)
    with pytest.raises(ClimSimError, match=r"mlo.*is not what .* announces"):
        download(config(hub, tmp_path))
    assert not (tmp_path / "data" / name).exists()


def test_unverified_files_are_compared_before_they_count(hub, tmp_path):
    download(config(hub, tmp_path))
    (tmp_path / "data/.climsim-verified").unlink()
    spoiled = list_steps(tmp_path / "data")[2].before
    spoiled.write_bytes(bytes(spoiled.stat().st_size))
    hub.gets.clear()
    download(config(hub, tmp_path))
    assert {name.rsplit("/", 1)[-1] for name, _ in hub.gets} == {spoiled.name}
    assert read_step(spoiled)


def test_full_disk_is_noticed_first(hub, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ClimSimError, match="GiB free: choose fewer months"):
        download(config(hub, tmp_path))
    assert hub.gets == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repo": "LEAP/none"}, "repo=LEAP/none: no such repository"),
        ({"months": ("0009-01",)}, "it has no train/0009-01"),
        ({"inside": "other"}, "it has no other"),
        ({"inside": ""}, "no step file in the root"),
    ],
)
def test_what_is_not_there_is_named(hub, tmp_path, changes, message):
    with pytest.raises(ClimSimError, match=message):
        download(config(hub, tmp_path, **changes))


def test_no_network_is_one_line(tmp_path, monkeypatch):
    import time

    # The Hub's client waits longer and longer between its attempts.
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(ClimSimError, match="cannot be reached: check the network") as caught:
        download(DownloadConfig(tmp_path, endpoint="http://127.0.0.1:9"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"months": ("1-2",)}, "months: expected months such as 0001-02, found '1-2'"),
        ({"months": ("0001-13",)}, "months: expected months such as 0001-02, found '0001-13'"),
        ({"months": ("0001-02",) * 2}, "months: expected different entries, found"),
        ({"stride": 0}, "stride: expected a whole number >= 1"),
    ],
)
def test_bad_configuration_names_the_key(tmp_path, changes, message):
    with pytest.raises(ClimSimError, match=message):
        DownloadConfig(tmp_path, **changes)


@pytest.mark.parametrize("path", ["../../outside/{name}", "/outside/{name}", "train/../../{name}"])
def test_hub_cannot_name_a_file_outside_the_folder(tmp_path, monkeypatch, path):
    name = path.format(name="E3SM-MMF.mli.0001-02-01-00000.nc")
    entry = RepoFile(path=name, size=1, oid="0")
    monkeypatch.setattr("climsim.data.raw.hub._list", lambda config, inside: [entry])
    with pytest.raises(ClimSimError, match="would be written outside the folder"):
        download(DownloadConfig(tmp_path / "data", months=("0001-02",)))
    assert not list(tmp_path.rglob("*.nc"))
