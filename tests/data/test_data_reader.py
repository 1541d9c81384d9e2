"""The reader: layout, completeness, order, ranks, workers, resuming, mixing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from climsim.data.raw.features import STORED
from climsim.data.reading.loader import BlockLoader
from climsim.data.reading.reader import BlockReader, Pool, _resume
from climsim.data.reading.resident import ResidentReader, split_bytes
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.errors import ClimSimError
from climsim.variables import EXPANDED, STANDARD, TARGETS
from tests.data.synthetic import split_config
from tests.grids import N_COLUMNS, N_LEVELS


def batches(reader, workers=0):
    return [(x.clone(), y.clone()) for x, y in BlockLoader(reader, workers)]


def keys(samples):
    """Identify samples by surface pressure: random, so no two are alike."""
    return samples[:, STANDARD.slice("state_ps", N_LEVELS)].ravel().tolist()


def all_keys(store, split="train"):
    return sorted(store.array("state_ps")[...][store.steps(split)].ravel().tolist())


def same(first, second):
    return len(first) == len(second) and all(
        torch.equal(a, c) and torch.equal(b, d)
        for (a, b), (c, d) in zip(first, second, strict=True)
    )


@pytest.mark.parametrize(("inputs", "variables"), [("standard", STANDARD), ("expanded", EXPANDED),
                                                   ("multirep", STANDARD)])  # fmt: skip
def test_layout_is_that_of_the_variable_set(store, inputs, variables):
    reader = BlockReader(store, inputs, shuffle=False, batch_size=N_COLUMNS)
    steps = store.steps("train", 2 if inputs == "expanded" else 0)
    rows = list(reader)
    assert len(rows) == steps.size
    for step, (x, y) in zip(steps, rows, strict=True):
        assert (x.dtype, y.dtype) == (torch.float32, torch.float32)
        assert x.shape == (N_COLUMNS, variables.size(N_LEVELS))
        for values, layout in ((x, variables), (y, TARGETS)):
            for name, place in layout.slices(N_LEVELS).items():
                expected = store.array(name)[int(step)].reshape(N_COLUMNS, -1)
                np.testing.assert_array_equal(values[:, place].numpy(), expected)


@pytest.mark.parametrize(("split", "shuffle"), [("train", True), ("validation", False)])
def test_split_kept_on_a_device_gives_the_same_batches(store, split, shuffle):
    def reader():
        return BlockReader(
            store, "expanded", split, 13, seed=3, shuffle=shuffle, drop_last=shuffle, pool_blocks=2
        )

    kept = BlockLoader(ResidentReader(reader(), "cpu"), prefetch=0)
    brought = BlockLoader(reader())
    for loader in (kept, brought):
        loader.resume_at(1, 2)
    for epoch in (1, 2):
        kept.set_epoch(epoch)
        brought.set_epoch(epoch)
        found = list(kept)
        assert len(found) == len(kept) - (2 if epoch == 1 else 0)
        assert same(found, list(brought))
    rows = reader().n_samples
    expected = 4 * rows * (EXPANDED.size(N_LEVELS) + TARGETS.size(N_LEVELS))
    assert split_bytes(reader()) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_every_sample_comes_once(store, workers):
    reader = BlockReader(store, batch_size=13, pool_blocks=3)
    seen = [k for x, _ in batches(reader, workers) for k in keys(x)]
    assert sorted(seen) == all_keys(store)
    assert len(seen) == reader.n_samples


def test_expanded_inputs_have_no_missing_value(store):
    for x, y in BlockReader(store, "expanded", batch_size=50):
        assert torch.isfinite(x).all()
        assert torch.isfinite(y).all()


def test_order_depends_on_seed_and_epoch_alone(store):
    def read(seed, epoch):
        reader = BlockReader(store, batch_size=16, seed=seed, pool_blocks=2)
        reader.set_epoch(epoch)
        return batches(reader)

    assert same(read(1, 0), read(1, 0))
    assert not same(read(1, 0), read(1, 1))
    assert not same(read(1, 0), read(2, 0))


def test_batches_are_the_same_for_any_number_of_workers(store):
    reader = BlockReader(store, batch_size=16, pool_blocks=2)
    alone, three = batches(reader), batches(reader, 3)
    assert sorted(map(sum, map(keys, (x for x, _ in alone)))) == sorted(
        map(sum, map(keys, (x for x, _ in three)))
    )


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_without_overlap(store, ranks, drop_last):
    readers = [
        BlockReader(store, batch_size=8, drop_last=drop_last, rank=r, world_size=ranks)
        for r in range(ranks)
    ]
    per_rank = [[k for x, _ in r for k in keys(x)] for r in readers]
    together = [k for part in per_rank for k in part]
    assert len(together) == len(set(together))
    if drop_last:
        assert len({len(r) for r in readers}) == 1
        assert len(together) == ranks * len(readers[0]) * 8
        assert set(together) <= set(all_keys(store))
    else:
        assert sorted(together) == all_keys(store)


def test_threads_do_not_change_the_batches(store):
    read = [list(BlockReader(store, batch_size=16, pool_blocks=2, threads=n)) for n in (0, 1, 3)]
    assert same(read[0], read[1])
    assert same(read[0], read[2])


def test_leaving_an_epoch_early_ends_its_threads(store):
    import threading

    before = threading.active_count()
    iterator = iter(BlockReader(store, batch_size=16, pool_blocks=2))
    next(iterator)
    assert threading.active_count() > before
    iterator.close()
    assert threading.active_count() == before


def test_drop_last_leaves_out_other_samples_each_epoch(store):
    reader = BlockReader(store, batch_size=20, drop_last=True)
    seen = []
    for epoch in range(2):
        reader.set_epoch(epoch)
        parts = [x for x, _ in reader]
        assert all(x.shape[0] == 20 for x in parts)
        seen.append({k for x in parts for k in keys(x)})
    assert seen[0] != seen[1]


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_resuming_in_mid_epoch_gives_the_rest(store, workers):
    reader = BlockReader(store, batch_size=9, seed=5, pool_blocks=2)
    loader = BlockLoader(reader, workers)
    loader.set_epoch(3)
    whole = [(x.clone(), y.clone()) for x, y in loader]
    for stop in (1, 7, len(whole) - 1):
        first = BlockLoader(reader, workers)
        iterator = iter(first)
        for _ in range(stop):
            next(iterator)
        state = first.state_dict()
        assert state == {"epoch": 3, "delivered": stop}
        del iterator
        again = BlockLoader(BlockReader(store, batch_size=9, seed=5, pool_blocks=2), workers)
        again.load_state_dict(state)
        assert same([(x.clone(), y.clone()) for x, y in again], whole[stop:])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 4), st.data())
def test_resumed_turns_follow_the_data_loader(sizes, workers, data):
    """Simulate a loader that takes one batch of each worker in turn, passing finished ones."""
    pools = [Pool(n, (), 0, size) for n, size in enumerate(sizes)]

    def sequence(shares):
        queues = [[(p.number, i) for p in part for i in range(p.batches)][skip:]
                  for part, skip in shares]  # fmt: skip
        result = []
        while any(queues):
            result += [queue.pop(0) for queue in queues if queue]
        return result

    whole = sequence(_resume(pools, workers, 0))
    assert len(whole) == sum(sizes)
    stop = data.draw(st.integers(0, len(whole)))
    assert sequence(_resume(pools, workers, stop)) == whole[stop:]


@pytest.mark.parametrize("shard_blocks", [1, 3])
@pytest.mark.parametrize("compression", ["lz4", "zstd", "none"])
def test_blocks_equal_what_zarr_reads(record, tmp_path, shard_blocks, compression):
    path = prepare(
        PrepareConfig(record[0], tmp_path / "s", split=split_config(), block_steps=4, workers=1,
                      shard_blocks=shard_blocks, compression=compression)
    )  # fmt: skip
    store = open_store(path)
    for name in STORED:
        files = store.blocks(name)
        whole = store.array(name)[...]
        for block in range(-(-store.n_steps // 4)):
            np.testing.assert_array_equal(files.read(block), whole[4 * block : 4 * block + 4])


def test_damaged_chunk_is_named(record, tmp_path):
    path = prepare(
        PrepareConfig(record[0], tmp_path / "s", split=split_config(), block_steps=4, workers=1)
    )
    chunk = path / "state_u/c.1.0.0"
    whole = chunk.read_bytes()
    for content in (b"", whole[:40], whole[:-1], b"x" * len(whole)):
        chunk.write_bytes(content)
        with pytest.raises(ClimSimError, match=r"state_u/c\.1\.0\.0: damaged chunk"):
            list(BlockReader(path))
    for position in (0, 20, len(whole) // 2, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[position] ^= 4
        chunk.write_bytes(flipped)
        with pytest.raises(ClimSimError, match="the checksum does not fit"):
            list(BlockReader(path))
    chunk.unlink()
    with pytest.raises(ClimSimError, match="damaged chunk"):
        list(BlockReader(path))


def test_neighbours_in_a_batch_are_hardly_correlated(store):
    """In time order neighbours share their step; shuffled they share it as often as by chance."""
    steps = {k: i for i, row in enumerate(store.array("state_ps")[...].tolist()) for k in row}

    def shared(reader):
        pairs = total = 0
        for x, _ in reader:
            index = np.array([steps[k] for k in keys(x)])
            pairs += int((index[1:] == index[:-1]).sum())
            total += index.size - 1
        return pairs / total

    ordered = shared(BlockReader(store, batch_size=64, shuffle=False))
    mixed = shared(BlockReader(store, batch_size=64, pool_blocks=8))
    assert ordered > 0.7
    # By chance 1 / (8 blocks * 4 steps), with room for the small sample.
    assert mixed < 0.12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": "v9"}, "unknown inputs 'v9'"),
        ({"split": "dev"}, "unknown split 'dev'"),
        ({"batch_size": 0}, "batch_size: expected a whole number >= 1, found 0"),
        ({"rank": 2, "world_size": 2}, "rank: expected"),
        ({"world_size": 1000}, "fewer than the 1000 processes"),
    ],
)
def test_bad_arguments_are_named(store, changes, message):
    with pytest.raises(ClimSimError, match=message):
        BlockReader(store, **changes)


def test_batch_larger_than_a_pool_is_refused(store):
    with pytest.raises(ClimSimError, match="batch_size=100000"):
        BlockReader(store, batch_size=100000, drop_last=True).plan()


def test_vectors_of_steps_hold_every_variable_in_its_place(store):
    steps = store.steps("train")[[0, 3]]
    vectors = store.vectors(STANDARD, steps)
    levels = store.n_levels
    assert vectors.shape == (2, store.n_columns, STANDARD.size(levels))
    fields = STANDARD.fields(vectors, levels)
    for name in ("state_t", "state_v", "pbuf_SOLIN"):
        expected = np.stack([store.group[name][step] for step in steps])
        np.testing.assert_array_equal(fields[name], expected)
    with pytest.raises(ClimSimError, match=r"expected steps within 0\.\."):
        store.vectors(STANDARD, [store.n_steps])
    with pytest.raises(ClimSimError, match="ascending"):
        store.vectors(STANDARD, [3, 1])


def test_store_says_what_it_holds(store):
    shown = repr(store)
    assert f"{store.n_steps} steps (" in shown
    assert " train, " in shown
    assert "\n" not in shown
