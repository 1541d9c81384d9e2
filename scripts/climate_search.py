"""Search for the tuning of the embedded model: short runs, each beside a control from one state.

    python scripts/climate_search.py runs/search days=6

Every candidate changes few numbers that are openly tunable (`climsim.hosts.gcm.tuning`). Each runs
in a process of its own by `climsim host climate`, continues where it was stopped, and is left alone
once it is complete. The table gives what each changed against the control over the same days, so
that season and weather of the start drop out. The radiation is called every three hours.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np

CONTROL: Final = "control"
_TRACKS: Final = {"gusts.storm_wind": 3.0, "gusts.storm_track_wind": 9.0}
CANDIDATES: Final[dict[str, dict[str, float]]] = {
    CONTROL: {
        "gusts.storm_wind": 4.0,
        "gusts.storm_track_wind": 0.0,
        "microphysics.ccraut": 15.0,
    },
    "storms 6 m/s everywhere": {"gusts.storm_wind": 6.0},
    "storms 3, tracks 6": {"gusts.storm_wind": 3.0, "gusts.storm_track_wind": 6.0},
    "storms 3, tracks 9": _TRACKS,
    "3, 9, less entrainment, earlier mid-level convection": {
        **_TRACKS,
        "convection.entrpen": 5.0e-5,
        "convection.cu_midlev_rh": 0.75,
    },
    "slow autoconversion": {"microphysics.ccraut": 4.0},
    "3, 9, slow autoconversion, slow aggregation of ice": {
        **_TRACKS,
        "microphysics.ccraut": 4.0,
        "microphysics.ccsaut": 30.0,
    },
}
"""What differs from the control, by name of the run."""
COLUMNS: Final[dict[str, tuple[str, float]]] = {
    "precipitation [mm/day]": ("cam_out_PRECC", 86400.0e3),
    "LHFLX [W/m2]": ("pbuf_LHFLX", 1.0),
    "FLWDS": ("cam_out_FLWDS", 1.0),
    "NETSW": ("cam_out_NETSW", 1.0),
    "FSNT": ("FSNT", 1.0),
    "FLUT": ("FLUT", 1.0),
    "low cloud": ("CLDLOW", 1.0),
}
LEVELS: Final[dict[str, tuple[str, int, float]]] = {
    "T 532 hPa [K]": ("state_t", 36, 1.0),
    "T 830 hPa": ("state_t", 48, 1.0),
    "q 830 hPa [g/kg]": ("state_q0001", 48, 1000.0),
}


def run(name: str, folder: Path, days: int) -> Path:
    """Means of a candidate, which runs unless they are complete."""
    out = folder / name.replace(", ", "_").replace(" ", "_").replace("/", "_")
    tuning = {**CANDIDATES[CONTROL], **CANDIDATES[name]}
    given = ",".join(f"{key}: {value}" for key, value in tuning.items())
    command = [
        "host",
        "climate",
        f"out={out}",
        f"days={days}",
        "checkpoint_days=2",
        "host_options.radiation_interval=10800",
        f"host_options.tuning={{{given}}}",
    ]
    subprocess.run([sys.executable, "-m", "climsim", *command], check=True)
    return out / "means.npz"


def measured(path: Path) -> dict[str, float]:
    """Global means of a run by column of the table."""
    with np.load(path) as stored:
        count = float(stored["count"])
        found = {k: scale * float(stored[f"mean/{n}"]) for k, (n, scale) in COLUMNS.items()}
        found |= {k: x * float(stored[f"mean/{n}"][level]) for k, (n, level, x) in LEVELS.items()}
    return {key: value / count for key, value in found.items()}


def table(results: dict[str, dict[str, float]]) -> str:
    """The control's means, and each candidate's difference from them."""
    columns = list(results[CONTROL])
    lines = [f"| run | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, values in results.items():
        base = {} if name == CONTROL else results[CONTROL]
        shown = "+.2g" if base else ".3g"
        cells = (f"{values[key] - base.get(key, 0.0):{shown}}" for key in columns)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Run what is missing, then print and store the table."""
    folder = Path(arguments[0])
    days = int(arguments[1].removeprefix("days=")) if len(arguments) > 1 else 6
    folder.mkdir(parents=True, exist_ok=True)
    results = {name: measured(run(name, folder, days)) for name in CANDIDATES}
    text = table(results)
    (folder / "search.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
