"""How long a process of the embedded model takes until its first step is done.

Run: ``python benchmarks/bench_start.py [--repeats 2]``. Fresh processes take turns: ``all kept``
finds every program and the start carry in the cache; ``steps alone`` finds the programs that take
long to compile, and computes the rest (what every process did before the rest was kept). Processor
time counts, so that other programs on the machine disturb little. Ends with a ratio.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

WAYS = ("steps alone", "all kept")
CHILD = """
import sys
import jax
folder, seconds = sys.argv[1], float(sys.argv[2])
update, key = jax.config.update, "jax_persistent_cache_min_compile_time_secs"
jax.config.update = lambda name, value: update(name, seconds if name == key else value)
from climsim.hosts import build_host
build_host("gcm", {"cache_folder": folder}).step_physics()
"""


def start(way: str, cache: Path) -> float:
    """Processor seconds of a process that builds the host and takes a step."""
    seconds = 0.0 if way == "all kept" else 0.5
    if seconds:
        for kept in cache.glob("carry-*.pkl"):
            kept.unlink()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", CHILD, str(cache), str(seconds)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Let both ways take turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        small, full = Path(name) / "steps", Path(name) / "all"
        caches = dict(zip(WAYS, (small, full), strict=True))
        for way in WAYS:
            start(way, caches[way])
        best = {way: min(start(way, caches[way]) for _ in range(options.repeats)) for way in WAYS}
    for way, seconds in best.items():
        print(f"{way:12s} {seconds:6.1f} s")
    print(f"ratio        {best[WAYS[0]] / best[WAYS[1]]:6.2f}")


if __name__ == "__main__":
    main()
