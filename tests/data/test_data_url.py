"""Stores that are read by URL: the same values, the same checks, one line where it cannot be."""

from __future__ import annotations

import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from climsim.configuration import build_config
from climsim.data.reading.reader import BlockReader
from climsim.data.statistics.config import StatisticsConfig
from climsim.data.statistics.statistics import compute_statistics
from climsim.data.store.config import PrepareConfig, VerifyConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.data.store.verify import verify
from climsim.errors import ClimSimError
from tests.data.synthetic import split_config


class RangeHandler(SimpleHTTPRequestHandler):
    """Serves files, and parts of files, as object stores do."""

    def do_GET(self):
        path = self.translate_path(self.path)
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if found is None:
            super().do_GET()
            return
        try:
            data = Path(path).read_bytes()
        except OSError:
            self.send_error(404)
            return
        first, last = found.groups()
        part = data[int(first) : int(last or len(data)) + 1] if first else data[-int(last) :]
        self.send_response(206)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_):
        """Be quiet."""


class Server(ThreadingHTTPServer):
    """Takes as many requests at a time as are made."""

    request_queue_size = 256
    daemon_threads = True


@pytest.fixture(scope="module")
def sharded(record, tmp_path_factory):
    """The record in shards of three blocks."""
    path = tmp_path_factory.mktemp("sharded") / "store.zarr"
    settings = {"split": split_config(), "block_steps": 4, "shard_blocks": 3, "workers": 1}
    return open_store(prepare(PrepareConfig(record[0], path, **settings)))


@pytest.fixture(params=["memory", "http"])
def published(request, sharded):
    """URL of a copy of the store."""
    if request.param == "memory":
        files = fsspec.filesystem("memory")
        files.put(str(sharded.path), "/bucket/store.zarr", recursive=True)
        yield "memory://bucket/store.zarr"
        files.rm("/bucket", recursive=True)
        return
    handler = partial(RangeHandler, directory=str(sharded.path.parent))
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/store.zarr"
    server.shutdown()


def test_store_behind_a_url_gives_the_same_batches_and_statistics(published, sharded):
    store = open_store(published)
    assert store.fingerprint == sharded.fingerprint
    assert str(store.path) == published
    settings = {"batch_size": 16, "seed": 3}
    for ours, theirs in zip(
        BlockReader(store, **settings), BlockReader(sharded, **settings), strict=True
    ):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert compute_statistics(store).fingerprint == compute_statistics(sharded).fingerprint
    row = store.dataset["state_t"].values[3]
    np.testing.assert_array_equal(row, sharded.values("state_t", np.array([3]))[0])
    assert verify(VerifyConfig(store.path, workers=1)).ok


def test_url_survives_the_configuration(published):
    config = build_config(StatisticsConfig, {"store": published, "out": "s.nc"})
    assert config.store == published
    assert open_store(config.store).n_steps


def test_damage_behind_a_url_is_noticed(sharded):
    files = fsspec.filesystem("memory")
    files.put(str(sharded.path), "/damaged.zarr", recursive=True)
    chunk = bytearray(files.cat_file("/damaged.zarr/state_u/c.0.0.0"))
    chunk[5] ^= 1
    files.pipe("/damaged.zarr/state_u/c.0.0.0", bytes(chunk))
    with pytest.raises(ClimSimError, match=r"memory://damaged\.zarr/state_u/c\.0\.0\.0: damaged"):
        open_store("memory://damaged.zarr").values("state_u", np.arange(2))
    files.rm("/damaged.zarr/lat/c/0")
    with pytest.raises(ClimSimError, match="its coordinates do not fit"):
        open_store("memory://damaged.zarr")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://nothing/here.zarr", "no such store"),
        ("s3://bucket/x.zarr", r"cannot be read \(Install s3fs.*pip install s3fs"),
        ("nonsense://x", r"cannot be read \(Protocol not known: nonsense\)"),
        ("http://127.0.0.1:9/x.zarr", "no such store|cannot be read"),
    ],
)
def test_url_that_cannot_be_read_says_why_in_one_line(url, message):
    with pytest.raises(ClimSimError, match=message) as caught:
        open_store(url)
    assert str(caught.value).startswith(url)
    assert "\n" not in str(caught.value)


def test_preparing_into_a_url_is_refused_and_makes_no_folder(record, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClimSimError, match=r"store=s3://bucket/x\.zarr: stores are prepared in"):
        PrepareConfig(record[0], "s3://bucket/x.zarr")
    for key in ("raw", "store"):
        values = {"raw": "raw", "store": "s", key: "s3://bucket/x"}
        with pytest.raises(ClimSimError, match=f"{key}: expected a path of this machine"):
            build_config(PrepareConfig, values)
    assert list(tmp_path.iterdir()) == []
