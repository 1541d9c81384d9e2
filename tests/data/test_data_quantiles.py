"""Quantile sketches: within their error in any chunking and order, mergeable, bounded in size."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climsim.data.statistics.quantiles import PERCENTS, RANK_ERROR, SKETCH_SIZE, QuantileSketch

DISTRIBUTIONS = {
    "normal": lambda rng, n: rng.normal(250, 20, n),
    "wet": lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.lognormal(-12, 3, n)),
    "steps": lambda rng, n: rng.integers(0, 4, n),
    "constant": lambda rng, n: np.full(n, -3.0),
}


def sample(kind, rng, size):
    """(sample, 2) values: the second position holds the negative of other ones."""
    draw = DISTRIBUTIONS[kind]
    return np.stack([draw(rng, size), -draw(rng, size)], axis=1).astype("f4")


def rank_errors(values, sketch):
    """How far the rank of each percentile lies outside what the exact values allow."""
    estimates = sketch.quantiles()
    for position in range(values.shape[1]):
        ordered = np.sort(values[:, position])
        for percent, estimate in zip(PERCENTS, estimates[:, position], strict=True):
            low = np.searchsorted(ordered, estimate, "left") / ordered.size
            high = np.searchsorted(ordered, estimate, "right") / ordered.size
            yield max(low - percent / 100, percent / 100 - high, 0.0)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(DISTRIBUTIONS)),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 30_000), max_size=8),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_error_is_bounded_in_any_chunking_and_order(kind, seed, cuts, ordered, random):
    values = sample(kind, np.random.default_rng(seed), 30_000)
    parts = np.split(np.sort(values, axis=0) if ordered else values, sorted(cuts))
    random.shuffle(parts)
    whole = QuantileSketch(2)
    for part in parts:
        other = QuantileSketch(2)
        other.update(part)
        whole.merge(other)
    assert whole.count.tolist() == [30_000, 30_000]
    # Twice the error of 99 % confidence lies five standard deviations out.
    assert max(rank_errors(values, whole)) < 2 * RANK_ERROR


def test_few_samples_give_exact_quantiles():
    values = np.random.default_rng(2).permutation(np.arange(200.0, dtype="f4"))[:, None]
    sketch = QuantileSketch(1)
    for part in np.split(values, 10):
        sketch.update(part)
    expected = [np.ceil(200 * p / 100) - 1 for p in PERCENTS]
    np.testing.assert_allclose(sketch.quantiles()[:, 0], expected, atol=1)


def test_error_is_what_the_library_promises():
    import datasketches

    promised = datasketches.kll_floats_sketch(SKETCH_SIZE).normalized_rank_error(False)
    assert promised <= RANK_ERROR


def test_size_does_not_grow_with_the_samples():
    rng = np.random.default_rng(0)
    sketch, sizes = QuantileSketch(3), []
    for _ in range(40):
        sketch.update(rng.normal(size=(20_000, 3)).astype("f4"))
        sizes.append(len(pickle.dumps(sketch)))
    assert sizes[-1] < 1.3 * sizes[0]


def test_a_sent_sketch_goes_on_as_before():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(30_000, 2)).astype("f4")
    sketch = QuantileSketch(2)
    sketch.update(values[:20_000])
    again = pickle.loads(pickle.dumps(sketch))
    np.testing.assert_array_equal(again.quantiles(), sketch.quantiles())
    again.update(values[20_000:])
    assert max(rank_errors(values, again)) < 2 * RANK_ERROR


@pytest.mark.parametrize("merge", [False, True])
def test_nothing_seen_gives_nan(merge):
    sketch = QuantileSketch(2)
    sketch.update(np.empty((0, 2), "f4"))
    if merge:
        sketch.merge(pickle.loads(pickle.dumps(QuantileSketch(2))))
    assert np.isnan(sketch.quantiles()).all()
    assert sketch.quantiles().shape == (len(PERCENTS), 2)
