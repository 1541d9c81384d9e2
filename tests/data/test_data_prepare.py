"""Preparation: values, gaps, restart after a kill, refusals."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from climsim.data.raw.features import STORED, memory_needed
from climsim.data.raw.steps import list_steps, write_grid_info
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import make_plan, prepare
from climsim.data.store.splits import SplitConfig
from climsim.errors import ClimSimError
from climsim.variables import variable
from tests import ROOT
from tests.data.synthetic import GAP, OFFSETS, START, STEP, split_config, write_record
from tests.grids import N_COLUMNS, N_LEVELS, make_grid


def config(record, path, **changes):
    values = {"split": split_config(), "block_steps": 4, "workers": 1, **changes}
    return PrepareConfig(record[0], path, **values)


def step_at(store, offset):
    return int(np.flatnonzero(store.times == START + offset * STEP)[0])


def test_values_are_those_of_the_raw_files(record, store):
    fields = record[1]
    for offset in (0, 5, 40):
        row = step_at(store, offset)
        before, after = fields[offset]
        for name in ("state_t", "pbuf_ozone"):
            values = store.dataset[name].values[row]
            assert values.shape == (N_COLUMNS, N_LEVELS)
            np.testing.assert_array_equal(values, before[name].T.astype("f4"))
        tendency = (after["state_v"] - before["state_v"]) / 1200
        np.testing.assert_array_equal(store.dataset["ptend_v"].values[row], tendency.T.astype("f4"))
        np.testing.assert_array_equal(
            store.dataset["cam_out_NETSW"].values[row], after["cam_out_NETSW"].astype("f4")
        )


def test_memory_features_come_from_the_previous_steps(record, store):
    fields = record[1]
    row = step_at(store, 6)
    (b4, a4), (b5, a5), (b6, _) = (fields[k] for k in (4, 5, 6))
    expected = {
        "state_t_prvphy": (a5["state_t"] - b5["state_t"]) / 1200,
        "tm_state_u_prvphy": (a4["state_u"] - b4["state_u"]) / 1200,
        "state_u_dyn": (b6["state_u"] - a5["state_u"]) / 1200,
        "tm_state_t_dyn": (b5["state_t"] - a4["state_t"]) / 1200,
        "tm_state_q0_dyn": sum(
            b5[q] - a4[q] for q in ("state_q0001", "state_q0002", "state_q0003")
        ) / 1200,
    }  # fmt: skip
    for name, value in expected.items():
        np.testing.assert_allclose(
            store.dataset[name].values[row], value.T.astype("f4"), rtol=1e-6, atol=1e-20
        )


def test_no_memory_feature_crosses_the_missing_step(store):
    for offset, memory in ((0, 0), (1, 1), (2, 2), (GAP - 1, 2), (GAP + 1, 0), (GAP + 2, 1)):
        row = step_at(store, offset)
        assert store.memory[row] == memory
        for name in STORED:
            values = store.array(name)[row]
            assert np.isfinite(values).all() == (memory >= memory_needed(name)), (offset, name)
    assert GAP not in (store.times - START) // STEP


def test_a_missing_output_file_is_a_gap(record, tmp_path):
    write_record(tmp_path / "raw", 12)
    (step,) = [s for s in list_steps(tmp_path / "raw") if s.seconds == START + 5 * STEP]
    step.after.unlink()
    path = prepare(
        PrepareConfig(tmp_path / "raw", tmp_path / "s", split=SplitConfig(1.0, 0, 0), workers=1)
    )
    store = open_store(path)
    assert (store.times - START).tolist() == [k * STEP for k in range(12) if k != 5]
    assert store.memory.tolist() == [0, 1, 2, 2, 2, 0, 1, 2, 2, 2, 2]


def test_splits_are_marked_and_gaps_left_out(store):
    parts = [store.times[store.steps(name)] for name in ("train", "validation", "test")]
    assert all(p.size for p in parts)
    assert sum(p.size for p in parts) == store.n_steps
    for first, second in itertools.pairwise(parts):
        assert second[0] - first[-1] >= 0.05 * 86400
    with pytest.raises(ClimSimError, match="unknown split 'tests'"):
        store.steps("tests")


def test_memory_steps_are_a_subset(store):
    assert set(store.steps("train", memory=2)) < set(store.steps("train"))


def test_xarray_opens_the_store_with_labels(store):
    dataset = xarray.open_zarr(store.path, consolidated=False)
    assert dataset["state_rh"].dims == ("time", "column", "level")
    assert dataset["state_ps"].dims == ("time", "column")
    assert set(dataset.coords) >= {"time", "lat", "lon", "area", "hyam", "hybi", "split", "memory"}
    for name in STORED:
        assert dataset[name].attrs["units"] == variable(name).unit
    assert str(store.dataset["time"].values[0]) == "0001-02-27 00:00:00"
    assert store.dataset["time"].values[0].calendar == "noleap"
    assert "git_revision" in dataset.attrs


def test_grid_round_trip(store):
    grid = make_grid()
    for name in ("lat", "lon", "area", "hyam", "hybm", "hyai", "hybi"):
        np.testing.assert_array_equal(getattr(store.grid, name), getattr(grid, name))


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 2},
        {"shard_blocks": 3},
        {"compression": "none"},
        {"compression": "zstd", "block_steps": 7},
    ],
)
def test_values_do_not_depend_on_workers_or_layout(record, store, tmp_path, changes):
    other = open_store(prepare(config(record, tmp_path / "s", **changes)))
    for name in STORED:
        np.testing.assert_array_equal(other.array(name)[...], store.array(name)[...])
    if changes == {"workers": 2}:
        assert other.fingerprint == store.fingerprint


def test_a_dask_cluster_gives_the_same_store(record, store, tmp_path):
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        settings = config(record, tmp_path / "s", dask=cluster.scheduler_address)
        other = open_store(prepare(settings))
    assert other.fingerprint == store.fingerprint


def test_absent_dask_scheduler_is_named(record, tmp_path, monkeypatch):
    import distributed

    def refuse(address, **_):
        raise OSError(f"Timed out trying to connect to {address}")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(ClimSimError, match=r"dask=tcp://10\.0\.0\.9:1: no scheduler answers"):
        prepare(config(record, tmp_path / "s", dask="tcp://10.0.0.9:1"))


def test_stride_keeps_the_memory_of_the_full_record(record, store, tmp_path):
    split = split_config(train_stride=7)
    strided = open_store(prepare(config(record, tmp_path / "s", split=split)))
    rows = strided.steps("train")
    offsets = (strided.times[rows] - START) // STEP
    assert offsets[:3].tolist() == [OFFSETS[0], OFFSETS[7], OFFSETS[14]]
    for row in rows:
        same = step_at(store, (strided.times[row] - START) // STEP)
        np.testing.assert_array_equal(
            strided.array("tm_state_t_dyn")[row], store.array("tm_state_t_dyn")[same]
        )


def test_without_memory_the_store_is_smaller_and_says_so(record, tmp_path):
    store = open_store(prepare(config(record, tmp_path / "s", memory=False)))
    assert "state_t_dyn" not in store.names
    with pytest.raises(ClimSimError, match=r"holds no state_t_dyn.*memory=true"):
        store.array("state_t_dyn")


def test_second_run_does_nothing(record, tmp_path):
    settings = config(record, tmp_path / "s")
    prepare(settings)
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "s").rglob("*")}
    calls = []
    prepare(settings, lambda done, total: calls.append((done, total)))
    assert calls == []
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "s").rglob("*")}


def test_changed_settings_make_a_new_store(record, tmp_path):
    settings = config(record, tmp_path / "s")
    prepare(settings)
    prepare(config(record, tmp_path / "s", split=split_config(train_stride=2)))
    assert open_store(tmp_path / "s").steps("train").size == -(-make_plan_train(settings) // 2)


def make_plan_train(settings):
    return int((make_plan(settings).split == 0).sum())


def test_progress_reaches_the_total(record, tmp_path):
    calls = []
    prepare(config(record, tmp_path / "s"), lambda done, total: calls.append((done, total)))
    assert calls[0][0] == 0
    assert calls[-1][0] == calls[-1][1] == open_store(tmp_path / "s").n_steps


def test_killed_preparation_continues_and_gives_the_same_store(record, store, tmp_path):
    """kill -9 in the middle: no store under the final name, finished shards are not redone."""
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from tests.data.synthetic import split_config
        from climsim.data.store import prepare as module

        def slow(task, write=module.write_shard):
            time.sleep(0.15)
            return write(task)

        module.write_shard = slow
        module.prepare(module.PrepareConfig(
            Path(sys.argv[1]), Path(sys.argv[2]), split=split_config(), block_steps=4, workers=1))
        """
    )
    path = tmp_path / "store.zarr"
    process = subprocess.Popen([sys.executable, "-c", script, str(record[0]), str(path)], cwd=ROOT)
    ticks = tmp_path / "store.zarr.preparing" / "done"
    deadline = time.monotonic() + 60
    while len(list(ticks.glob("*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not path.exists()
    with pytest.raises(ClimSimError, match="no such store"):
        open_store(path)
    finished = {p: p.stat().st_mtime_ns for p in ticks.glob("*.json")}
    assert len(finished) >= 3
    # A shard that was cut off in the middle may look whole: it has no tick and is done again.
    chunk = path.with_name("store.zarr.preparing") / "store/state_t/c.5.0.0"
    chunk.write_bytes(b"half a chunk")
    seen = []

    def watch(done, total):
        seen.append(done)
        kept = {p: p.stat().st_mtime_ns for p in finished}
        assert kept == finished

    prepare(config(record, path), watch)
    assert seen[0] >= 4 * 3
    assert open_store(path).fingerprint == store.fingerprint
    assert not ticks.parent.exists()


def test_other_settings_do_not_continue_an_interrupted_run(record, tmp_path, monkeypatch):
    import climsim.data.store.prepare as module

    write = module.write_shard
    counter = iter(range(100))

    def failing(task):
        if next(counter) == 2:
            raise ClimSimError("stop here")
        return write(task)

    monkeypatch.setattr(module, "write_shard", failing)
    with pytest.raises(ClimSimError, match="stop here"):
        prepare(config(record, tmp_path / "s"))
    monkeypatch.setattr(module, "write_shard", write)
    seen = []
    prepare(config(record, tmp_path / "s", block_steps=5), lambda done, _: seen.append(done))
    assert seen[0] == 0


def test_other_level_count_is_refused(record, tmp_path):
    grid_file = tmp_path / "grid.nc"
    write_grid_info(grid_file, make_grid(levels=N_LEVELS + 2), "synthetic")
    with pytest.raises(ClimSimError, match=r"\(level, column\) is \(5, 7\).*\(7, 7\)"):
        prepare(config(record, tmp_path / "s", grid=grid_file))
    assert not (tmp_path / "s").exists()


def test_damaged_file_stops_with_its_name(tmp_path):
    write_record(tmp_path / "raw", 8)
    step = list_steps(tmp_path / "raw")[4]
    step.after.write_bytes(step.after.read_bytes()[:-300])
    with pytest.raises(ClimSimError, match=f"{step.after.name}: truncated"):
        prepare(
            PrepareConfig(tmp_path / "raw", tmp_path / "s", split=SplitConfig(1.0, 0, 0), workers=2)
        )


def test_implausible_values_stop_unless_allowed(tmp_path):
    import netCDF4

    write_record(tmp_path / "raw", 4)
    path = list_steps(tmp_path / "raw")[2].before
    with netCDF4.Dataset(path, "a") as file:
        file["state_t"][1, 3] = 2000.0
    values = {"split": SplitConfig(1.0, 0, 0), "workers": 1}
    with pytest.raises(ClimSimError, match=r"00-02400|mli.*implausible.*state_t \(1\)"):
        prepare(PrepareConfig(tmp_path / "raw", tmp_path / "s", **values))
    prepare(PrepareConfig(tmp_path / "raw", tmp_path / "s", check_ranges=False, **values))
    assert open_store(tmp_path / "s").dataset["state_t"].values.max() == 2000.0


def test_a_disk_that_fills_up_stops_with_one_line_and_continues(record, store, tmp_path):
    """A limit on the size of files makes the writing fail in the fourth shard."""
    script = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from tests.data.synthetic import split_config
        from climsim.data.store.prepare import PrepareConfig, prepare
        from climsim.errors import ClimSimError

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        config = PrepareConfig(
            Path(sys.argv[1]), Path(sys.argv[2]), split=split_config(), block_steps=4, workers=1)
        from climsim.data.store import prepare as module
        write, calls = module.write_shard, []

        def limited(task):
            calls.append(task)
            if len(calls) == 4:
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
            return write(task)

        module.write_shard = limited
        try:
            prepare(config)
        except ClimSimError as error:
            print(error)
            sys.exit(9)
        """
    )
    path = tmp_path / "s"
    run = subprocess.run(
        [sys.executable, "-c", script, str(record[0]), str(path)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert run.returncode == 9, run.stderr
    assert "cannot be written" in run.stdout
    assert run.stdout.count("\n") == 1
    assert not path.exists()
    seen = []
    prepare(config(record, path), lambda done, _: seen.append(done))
    assert seen[0] == 12
    assert open_store(path).fingerprint == store.fingerprint


def test_workers_end_with_a_killed_parent(tmp_path):
    """kill -9 of the parent leaves no worker behind."""
    script = textwrap.dedent(
        """
        import os, time
        from climsim.parallel import run_tasks

        def main():
            for _ in run_tasks(time.sleep, [0.0, 0.0, 600.0, 600.0], workers=2):
                children = open(f"/proc/self/task/{os.getpid()}/children").read()
                print(children, flush=True)

        if __name__ == "__main__":
            main()
        """
    )
    file = tmp_path / "job.py"
    file.write_text(script)
    process = subprocess.Popen([sys.executable, str(file)], stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    children = [int(pid) for pid in process.stdout.readline().split()]
    assert len(children) >= 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in children)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_too_small_a_disk_is_noticed_before_the_work(record, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ClimSimError, match="free some space"):
        prepare(config(record, tmp_path / "s"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_steps": -1}, "block_steps: expected a whole number >= 0, found -1"),
        ({"shard_blocks": 0}, "shard_blocks: expected a whole number >= 1, found 0"),
        ({"compression": "gzip"}, "compression: expected one of lz4, zstd, none, found 'gzip'"),
        ({"workers": -1}, "workers: expected a whole number >= 0, found -1"),
        ({"split": 0.7}, "split: expected the fields of SplitConfig, found 0.7"),
    ],
)
def test_bad_configuration_names_the_key(record, tmp_path, changes, message):
    with pytest.raises(ClimSimError, match=message):
        config(record, tmp_path / "s", **changes)


def test_store_of_another_level_count_is_refused(store):
    assert open_store(store.path, levels=N_LEVELS).n_levels == N_LEVELS
    with pytest.raises(ClimSimError, match="the store has 5 levels, expected 60"):
        open_store(store.path, levels=60)


def test_folders_that_are_no_store_are_refused(tmp_path):
    with pytest.raises(ClimSimError, match="no such store"):
        open_store(tmp_path / "none")
    with pytest.raises(ClimSimError, match="not a Zarr store"):
        open_store(tmp_path)
    zarr.create_group(tmp_path / "other")
    with pytest.raises(ClimSimError, match="not a complete store"):
        open_store(tmp_path / "other")


def test_steps_of_further_folders_join_the_record_and_train_alone(record, store, tmp_path):
    later = START + 1000 * 365 * 86400
    visited = write_record(tmp_path / "visited", [0, 1, 2, 9], seed=5, start=later)
    split = replace(split_config(), training_only="0500-01/9999-12")
    path = prepare(config(record, tmp_path / "both.zarr", also=[tmp_path / "visited"], split=split))
    both = open_store(path)
    n = store.times.size
    assert both.times.tolist() == [*store.times, *(later + STEP * k for k in (0, 1, 2, 9))]
    names = ("state_t", "ptend_t", "split")
    for name in names:
        np.testing.assert_array_equal(both.dataset[name].values[:n], store.dataset[name].values)
    assert both.dataset["split"].values[n:].tolist() == [5, 5, 5, 5]
    assert both.dataset["memory"].values[n:].tolist() == [0, 1, 2, 0]
    for row, (before, _) in enumerate(visited, n):
        np.testing.assert_array_equal(
            both.dataset["state_t"].values[row], before["state_t"].T.astype("f4")
        )


@pytest.mark.parametrize("there", [True, False])
def test_a_link_to_the_place_of_the_store_stays(record, store, tmp_path, there):
    target, link = tmp_path / "other_disk" / "store.zarr", tmp_path / "store.zarr"
    link.symlink_to("other_disk/store.zarr")
    if there:
        prepare(config(record, target, memory=False))
    prepare(config(record, link))
    assert link.readlink() == Path("other_disk/store.zarr")
    assert open_store(target).fingerprint == store.fingerprint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other_disk", "store.zarr"]
    assert [p.name for p in target.parent.iterdir()] == ["store.zarr"]


@pytest.mark.parametrize("path", [".", "/", "..", "a/.."])
def test_a_store_needs_a_name(record, path):
    with pytest.raises(ClimSimError, match=r"^store: expected a path that ends with the name of"):
        config(record, Path(path))


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"also": ["raw/member-02"]}, "also=.*02: lies inside raw=.*raw, .*: leave it out"),
        ({"also": ["."]}, "raw=.*raw: lies inside also=.*, which is read .*: leave also out"),
        ({"also": ["b", "b/c"]}, "also=b/c: lies inside also=.*b, which"),
        ({"outputs": "o", "also": ["o/a"]}, "also=o/a: lies inside outputs=o, which"),
    ],
)
def test_folders_that_are_read_twice_are_named_by_their_keys(
    tmp_path, monkeypatch, folders, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClimSimError, match=message):
        PrepareConfig(Path("raw"), Path("s"), **folders)
    PrepareConfig(Path("raw"), Path("s"), outputs="raw/mlo", also=["seasons/member-02", "raw2"])


def test_a_folder_that_is_linked_from_another_one_loses_no_file(record, tmp_path):
    write_record(tmp_path / "more", [3], start=START + 400 * 86400)
    write_record(tmp_path / "raw", 3)
    (tmp_path / "raw" / "linked").symlink_to(tmp_path / "more")
    with pytest.raises(ClimSimError, match=r"more.*: the same file as .*linked.*: name its folder"):
        prepare(config((tmp_path / "raw",), tmp_path / "s", also=[tmp_path / "more"]))


def test_a_step_in_two_folders_is_refused(record, tmp_path):
    write_record(tmp_path / "again", [3])
    with pytest.raises(ClimSimError, match=r"again.*: the same step as .*: remove one of the two"):
        prepare(config(record, tmp_path / "both.zarr", also=[tmp_path / "again"]))
    with pytest.raises(ClimSimError, match=r"also=.*nowhere: no such folder"):
        prepare(config(record, tmp_path / "both.zarr", also=[tmp_path / "nowhere"]))
