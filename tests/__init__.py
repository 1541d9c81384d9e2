"""Tests, and the synthetic data that they, the benchmarks and the examples' tests share."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The project's folder."""
SHARED = ROOT.parent / "shared"
"""Golden and reference data; not every machine has them."""
