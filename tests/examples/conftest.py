"""Where the tests of the examples find the synthetic data and the toy host."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
for folder in (TESTS, TESTS / "data", TESTS / "docs"):
    sys.path.insert(0, str(folder))
