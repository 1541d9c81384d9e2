"""Stores that grow: added months alone are read, in any order, and through a kill at any time."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

import climsim.data.store.plan as plan_module
import climsim.data.store.prepare as prepare_module
import climsim.data.store.shards as shards_module
from climsim.data.raw.steps import list_steps
from climsim.data.store.chunks import write_blocks
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.data.store.splits import SplitConfig
from climsim.errors import ClimSimError
from tests.data.synthetic import START, STEP, write_record
from tests.grids import N_COLUMNS, N_LEVELS

BY_DATE = SplitConfig("0001-02-28/0001-02-28", "0001-03-01/0001-03-01", "", gap_days=0)
OPEN_ENDED = SplitConfig("0001-02-27/0001-03-05", "", "")
FEBRUARY, MARCH = range(120, 144), range(144, 168)
"""The last eight hours of February and the first eight of March."""


def config(raw, path, **changes):
    values = {"split": OPEN_ENDED, "block_steps": 6, "workers": 1, **changes}
    return PrepareConfig(raw, path, **values)


def offsets_of(paths):
    seconds = {step.before.name: step.seconds for step in list_steps(paths[0].parents[1])}
    return sorted({(seconds[path.name] - START) // STEP for path in paths})


@pytest.fixture
def opened(monkeypatch):
    """Input files that preparation reads, in order."""
    read, paths = shards_module.read_step, []

    def watched(path, *rest):
        paths.append(Path(path))
        return read(path, *rest)

    monkeypatch.setattr(shards_module, "read_step", watched)
    return paths


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Both parts prepared at once."""
    folder = tmp_path_factory.mktemp("whole")
    write_record(folder / "raw", [*FEBRUARY, *MARCH])
    return open_store(prepare(config(folder / "raw", folder / "s")))


def same_store(first, second):
    assert first.fingerprint == second.fingerprint
    for name in first.names:
        np.testing.assert_array_equal(first.array(name)[...], second.array(name)[...])


def test_only_an_added_month_is_read(tmp_path, opened, whole):
    raw = tmp_path / "raw"
    write_record(raw, FEBRUARY)
    prepare(config(raw, tmp_path / "s"))
    assert offsets_of(opened) == list(FEBRUARY)
    opened.clear()
    write_record(raw, MARCH)
    seen = []
    store = open_store(prepare(config(raw, tmp_path / "s"), lambda *p: seen.append(p)))
    # The first new steps look back at the last two old ones.
    assert offsets_of(opened) == [142, 143, *MARCH]
    assert seen[0] == (24, 48)
    same_store(store, whole)
    opened.clear()
    prepare(config(raw, tmp_path / "s"))
    assert opened == []


def test_a_month_before_the_others_moves_them_without_reading_them(tmp_path, opened, whole):
    raw = tmp_path / "raw"
    write_record(raw, MARCH)
    prepare(config(raw, tmp_path / "s"))
    opened.clear()
    write_record(raw, FEBRUARY)
    store = open_store(prepare(config(raw, tmp_path / "s")))
    # The first block of March is made again: it now has previous steps.
    assert offsets_of(opened) == [*FEBRUARY, *list(MARCH)[:6]]
    same_store(store, whole)


def test_a_last_block_that_was_not_full_is_made_again(tmp_path, opened, whole):
    raw = tmp_path / "raw"
    write_record(raw, list(FEBRUARY)[:-2])
    prepare(config(raw, tmp_path / "s"))
    opened.clear()
    write_record(raw, [142, 143, *MARCH])
    same_store(open_store(prepare(config(raw, tmp_path / "s"))), whole)
    assert min(offsets_of(opened)) == 136


def test_splits_by_dates_stay_as_the_store_grows(tmp_path):
    raw = tmp_path / "raw"
    write_record(raw, [*FEBRUARY, MARCH[0]])
    times = []
    for extra in ([], list(MARCH)[1:]):
        write_record(raw, extra)
        store = open_store(prepare(config(raw, tmp_path / "s", split=BY_DATE)))
        times.append([store.times[store.steps(n)].tolist() for n in ("train", "validation")])
    assert times[0][0] == times[1][0]
    assert times[0][1] == times[1][1][:1]
    assert len(times[1][1]) == len(MARCH)


def test_another_split_reads_nothing_again(tmp_path, opened):
    write_record(tmp_path / "raw", [*FEBRUARY, *MARCH])
    prepare(config(tmp_path / "raw", tmp_path / "s"))
    opened.clear()
    split = SplitConfig("0001-02-28/0001-02-28", "", "0001-03-01/0001-03-01", gap_days=0)
    store = open_store(prepare(config(tmp_path / "raw", tmp_path / "s", split=split)))
    assert opened == []
    assert store.steps("test").size == 24


def test_a_store_that_grew_does_not_share_bytes_with_what_is_written_later(tmp_path):
    raw = tmp_path / "raw"
    write_record(raw, FEBRUARY)
    prepare(config(raw, tmp_path / "s"))
    kept = tmp_path / "copy"
    kept.mkdir()
    folder = tmp_path / "s" / "state_t"
    (kept / "c.0.0.0").hardlink_to(folder / "c.0.0.0")
    before = (kept / "c.0.0.0").read_bytes()
    write_blocks(folder, 0, np.zeros((6, N_COLUMNS, N_LEVELS), np.float32))
    assert (kept / "c.0.0.0").read_bytes() == before


class Killed(BaseException):
    """Stands for kill -9: nothing catches it to clean up."""


def stop_at(monkeypatch, module, name, count):
    """Make the call number ``count`` of a function end the run before it does anything."""
    function, calls = getattr(module, name), iter(range(10**6))

    def guarded(*args, **options):
        if next(calls) == count:
            raise Killed
        return function(*args, **options)

    monkeypatch.setattr(module, name, guarded)


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (prepare_module, "create_arrays"),
        (prepare_module, "write_json"),
        (prepare_module, "write_shard"),
        (prepare_module, "take_over"),
        (prepare_module, "seal_store"),
        (prepare_module, "_name"),
        (shards_module, "write_json"),
    ],
)
def test_a_run_killed_while_the_store_grows_is_finished_and_nothing_else(
    tmp_path, opened, whole, module, name, count
):
    raw, path = tmp_path / "raw", tmp_path / "s"
    write_record(raw, FEBRUARY)
    prepare(config(raw, path))
    write_record(raw, MARCH)
    stopped = False
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, module, name, count)
        try:
            prepare(config(raw, path))
        except Killed:
            stopped = True
            assert open_store(path).n_steps == len(FEBRUARY)
    assert stopped or count
    done = len(list((tmp_path / "s.preparing/done").glob("*.json")))
    finished = open_store(path).n_steps == 48
    opened.clear()
    same_store(open_store(prepare(config(raw, path))), whole)
    again = offsets_of(opened) if opened else []
    if finished:
        assert again == []
    else:
        # Old shards, and those that were ticked off, are not read again.
        first = max(4, done) * 6 + FEBRUARY[0]
        assert set(again) == set(range(first - 2, MARCH[-1] + 1) if first <= MARCH[-1] else [])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw", "s"]


@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [(Path, "rename", 0), (Path, "rename", 1), (prepare_module, "_tidy", 0)],
)
@pytest.mark.parametrize("grows", [False, True])
def test_a_run_killed_while_its_store_gets_its_name_is_finished_without_reading(
    tmp_path, opened, whole, owner, name, count, grows
):
    raw, path = tmp_path / "raw", tmp_path / "s"
    if grows:
        write_record(raw, FEBRUARY)
        prepare(config(raw, path))
        write_record(raw, MARCH)
    else:
        write_record(raw, [*FEBRUARY, *MARCH])
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, owner, name, count)
        # Without a store that is there already, one name changes and not two.
        stopped = grows or (name, count) != ("rename", 1)
        with pytest.raises(Killed) if stopped else contextlib.nullcontext():
            prepare(config(raw, path))
    opened.clear()
    same_store(open_store(prepare(config(raw, path))), whole)
    assert opened == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw", "s"]


def test_a_preparation_whose_arrays_are_gone_begins_again(tmp_path, whole):
    raw, path = tmp_path / "raw", tmp_path / "s"
    write_record(raw, [*FEBRUARY, *MARCH])
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, prepare_module, "seal_store", 0)
        with pytest.raises(Killed):
            prepare(config(raw, path))
    shutil.rmtree(tmp_path / "s.preparing/store")
    same_store(open_store(prepare(config(raw, path))), whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw", "s"]


def test_a_store_whose_steps_another_version_chose_is_made_again(tmp_path, opened):
    raw, path = tmp_path / "raw", tmp_path / "s"
    write_record(raw, [*FEBRUARY, *MARCH])
    settings = config(raw, path, split=BY_DATE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "assign_splits", lambda seconds, _: np.zeros(seconds.size, "i1"))
        assert open_store(prepare(settings)).n_steps == 48
    opened.clear()
    remade = open_store(prepare(settings))
    assert [remade.steps(split).size for split in ("train", "validation")] == [24, 24]
    assert opened == []


def test_months_that_arrive_during_an_interruption_keep_what_was_done(tmp_path, opened, whole):
    raw, path = tmp_path / "raw", tmp_path / "s"
    write_record(raw, FEBRUARY)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, prepare_module, "write_shard", 3)
        with pytest.raises(Killed):
            prepare(config(raw, path))
    write_record(raw, MARCH)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, prepare_module, "take_over", 0)
        with pytest.raises(Killed):
            prepare(config(raw, path))
    opened.clear()
    same_store(open_store(prepare(config(raw, path))), whole)
    assert min(offsets_of(opened)) == FEBRUARY[0] + 3 * 6 - 2


def test_steps_that_left_the_raw_folder_are_not_dropped(tmp_path):
    raw = tmp_path / "raw"
    write_record(raw, FEBRUARY)
    prepare(config(raw, tmp_path / "s"))
    write_record(raw, MARCH)
    for step in list_steps(raw)[:5]:
        step.before.unlink()
        step.after.unlink()
    with pytest.raises(ClimSimError, match=r"5 steps whose files are no longer in .*02-28 16:00"):
        prepare(config(raw, tmp_path / "s"))
    assert open_store(tmp_path / "s").n_steps == len(FEBRUARY)


@pytest.mark.parametrize(("split", "warned"), [(SplitConfig(1.0, 0, 0), 1), (OPEN_ENDED, 0)])
def test_shares_that_move_are_told(tmp_path, caplog, split, warned):
    raw = tmp_path / "raw"
    for part in (FEBRUARY, MARCH):
        write_record(raw, part)
        with caplog.at_level(logging.WARNING):
            prepare(config(raw, tmp_path / "s", split=split))
    assert caplog.text.count("give periods") == warned


def test_a_damaged_store_is_not_built_upon(tmp_path, opened):
    raw = tmp_path / "raw"
    write_record(raw, FEBRUARY)
    prepare(config(raw, tmp_path / "s"))
    (tmp_path / "s/shards/key/zarr.json").write_text("{")
    opened.clear()
    for changes in ({}, {"block_steps": 5}):
        with pytest.raises(ClimSimError, match=r"damaged store.*delete it and prepare it again"):
            prepare(config(raw, tmp_path / "s", **changes))
    assert opened == []
