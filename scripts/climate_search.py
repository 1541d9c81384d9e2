"""Search for the tuning of the embedded model: perturbed parameters, side by side in one program.

    python scripts/climate_search.py runs/search --reference e3sm_mmf_statistics.csv

The control is the shipped tuning; beside it run the sets of a Plackett-Burman design, in which each
parameter is at its low and its high value equally often, and so is every pair. A set has a member
for each start, such as one of each season. Linear effects come from the means over the second half
of the days. Candidates have the least misfit that these effects promise, in units of the aims of
`climsim host climate`, with a price on every change. They then take the members over for as many
days, beside the control. Means are stored after each day (`stage_1.npz`, `stage_2.npz`); the
tables are `search.md`. Made for a GPU; a CPU does `--days 1 --sets 2`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from scipy.linalg import circulant
from scipy.optimize import minimize

from climsim.arrays import Array
from climsim.constants import SECONDS_PER_DAY, STEPS_PER_DAY
from climsim.errors import ClimSimError
from climsim.figures.climate_aims import misfits, read_statistics
from climsim.files import atomic_path
from climsim.hosts.gcm import build_host
from climsim.hosts.gcm.config import SHIPPED
from climsim.hosts.gcm.perturbed import DIFFUSION_HOURS, PerturbedMembers, tuned_values

Parameters = dict[str, float]
"""Values by `scheme.field`, and the damping time."""
RANGES: Final[dict[str, tuple[float, float]]] = {
    DIFFUSION_HOURS: (12.0, 36.0),
    "convection.entrpen": (6.0e-5, 1.6e-4),
    "convection.entrscv": (1.0e-3, 3.0e-3),
    "convection.entrmid": (5.0e-5, 2.0e-4),
    "convection.tau": (3600.0, 7200.0),
    "convection.cprcon": (1.2e-4, 4.0e-4),
    "convection.cu_cmfctop": (0.1, 0.3),
    "convection.cevapcu": (1.0e-6, 3.0e-6),
    "convection.cu_midlev_rh": (0.75, 0.95),
    "convection.cmfdeps": (0.2, 0.4),
    "clouds.crs": (0.85, 0.95),
    "clouds.crt": (0.6, 0.8),
    "clouds.cinv": (0.25, 0.75),
    "microphysics.ccraut": (2.5, 8.0),
    "microphysics.ccsaut": (60.0, 130.0),
    "microphysics.cvtfall": (2.0, 4.0),
    "radiation.cloud_inhomogeneity_ice": (0.7, 0.9),
    "radiation.cloud_inhomogeneity_liquid": (0.7, 0.9),
    "gusts.storm_wind": (2.0, 5.0),
    "gusts.storm_track_wind": (6.0, 13.0),
    "sso.wave_drag_coeff": (0.1, 0.4),
    "sso.blocked_flow_drag_coeff": (0.5, 2.0),
}
"""Low and high value of each parameter; what lies between is geometric."""
GENERATOR: Final = "+++++-+-++--++--+-+----"
"""First row of the design of 24 runs. Source: Plackett and Burman 1946, Biometrika 33, 305."""
PENALTIES: Final = (0.005, 0.03, 0.1)
"""Price of moving a parameter by half its range, in squared units of the aims; one a candidate."""
NAMES: Final = ("control", *(f"candidate {number + 1}" for number in range(len(PENALTIES))))
"""Of the rows of the tables."""
TABLES: Final = "search.md"
OUTER: Final = 4.0
"""Weight of what is beyond half a limit, beside the mean square of all misfits."""
SHOWN: Final = 0.1
"""Effects below it in all aims are left out of the table."""
COLUMNS: Final = {
    "P [mm/day]": ("cam_out_PRECC", 1.0e3 * SECONDS_PER_DAY),
    "LHFLX [W/m2]": ("pbuf_LHFLX", 1.0),
    "SHFLX": ("pbuf_SHFLX", 1.0),
    "FLWDS": ("cam_out_FLWDS", 1.0),
    "NETSW": ("cam_out_NETSW", 1.0),
    "FSNT": ("FSNT", 1.0),
    "FLUT": ("FLUT", 1.0),
    "low cloud": ("CLDLOW", 1.0),
}
"""Means of the table of candidates, and their scale."""


@dataclass(frozen=True)
class Options:
    """What is searched.

    Attributes:
        out: folder of means and tables.
        reference: CSV of E3SM-MMF's statistics, as of `climsim host climate`.
        starts: restart files; the shipped start where there are none.
        days: simulated days of each of the two stages.
        sets: how many sets run side by side, the control first.
    """

    out: Path
    reference: Path
    starts: tuple[Path, ...]
    days: int
    sets: int


@dataclass(frozen=True)
class Linear:
    """Misfits as linear functions of the parameters.

    Attributes:
        control: misfit of the control, (aim,).
        effects: change by half the range of a parameter, (parameter, aim).
        center: the control's parameters, coded, (parameter,).
    """

    control: Array
    effects: Array
    center: Array

    def expected(self, coded: Array) -> Array:
        """Misfits at coded parameters, (aim,)."""
        promised: Array = self.control + (coded - self.center) @ self.effects
        return promised


def design() -> Array:
    """The Plackett-Burman design of 24 runs, (run, column) of -1 and 1."""
    row = np.array([1.0 if sign == "+" else -1.0 for sign in GENERATOR])
    return np.vstack([circulant(row).T, -np.ones(len(row))])


def coded(values: Mapping[str, float]) -> Array:
    """Parameters from -1 at their low to 1 at their high value, (parameter,)."""
    return np.array(
        [
            2.0 * np.log(values[name] / np.sqrt(low * high)) / np.log(high / low)
            for name, (low, high) in RANGES.items()
        ]
    )


def decoded(places: Array) -> Parameters:
    """The values at coded places."""
    return {
        name: float(np.sqrt(low * high) * (high / low) ** (place / 2.0))
        for place, (name, (low, high)) in zip(places, RANGES.items(), strict=True)
    }


def fit(places: Array, found: Array) -> Linear:
    """Linear effects by least squares, the smallest where sets are fewer than parameters.

    Args:
        places: coded parameters of the sets that survived, the control first (set, parameter).
        found: their misfits (set, aim).
    """
    terms = np.hstack([np.ones((len(places), 1)), places])
    solved, *_ = np.linalg.lstsq(terms, found, rcond=None)
    return Linear(found[0], solved[1:], places[0])


def cost(model: Linear, penalty: float, places: Array) -> float:
    """Mean square misfit, what is beyond half a limit counted again, and a price on changes."""
    misfit, moved = model.expected(places), places - model.center
    beyond = np.maximum(np.abs(misfit) - 0.5, 0.0)
    price = penalty * np.sqrt(moved**2 + 1.0e-4).sum()
    return float((misfit**2).mean() + OUTER * (beyond**2).mean() + price)


def candidate(model: Linear, penalty: float) -> Array:
    """Coded parameters of the least cost within their ranges, (parameter,)."""
    bounds = [(min(-1.0, at), max(1.0, at)) for at in model.center]
    random = np.random.default_rng(0)
    begins = [model.center, *random.uniform(-1.0, 1.0, (6, len(bounds)))]
    goal = partial(cost, model, penalty)
    ends = [minimize(goal, begin, bounds=bounds, method="L-BFGS-B") for begin in begins]
    best: Array = min(ends, key=lambda end: float(end.fun)).x
    # What hardly moved stays where the control has it.
    return np.where(np.abs(best - model.center) > 0.05, best, model.center)


def run_stage(members: PerturbedMembers, days: int, path: Path) -> dict[str, Array]:
    """Run for some days, storing means after each; those of the second half, (set, start, ...)."""
    daily: list[dict[str, Array]] = []
    for day in range(1, days + 1):
        daily.append(members.run(STEPS_PER_DAY))
        stored = {name: np.stack([means[name] for means in daily]) for name in daily[0]}
        parameters = {name: np.array([one[name] for one in members.sets]) for name in RANGES}
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **stored, **{f"set/{k}": v for k, v in parameters.items()})
        print(f"{path.stem}: day {day} of {days}", flush=True)
    return {name: values[days // 2 :].mean(0) for name, values in stored.items()}


def table(names: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(row)} |" for name, row in rows.items())])


def effects_table(model: Linear, aims: Sequence[str]) -> str:
    """The control's misfits, and the effects of those parameters that have any."""
    rows = {"control": [f"{value:.2f}" for value in model.control]}
    for name, effect in zip(RANGES, model.effects, strict=True):
        if np.abs(effect).max() >= SHOWN:
            rows[name] = [f"{value:+.2f}" for value in effect]
    return table(aims, rows)


def candidates_table(
    means: Mapping[str, Array], found: Mapping[str, Array], names: Sequence[str]
) -> str:
    """Means and misfits of the control and the candidates.

    Args:
        means: by variable, of each row.
        found: misfits by aim, of each row.
        names: of the rows.
    """
    columns = {k: scale * means[name] for k, (name, scale) in COLUMNS.items()} | dict(found)
    rows = {
        name: [f"{values[row]:.3g}" for values in columns.values()]
        for row, name in enumerate(names)
    }
    return table(list(columns), rows)


def described(control: Parameters, chosen: Parameters) -> str:
    """What a candidate changes, as `host_options` take it."""
    changed = {k: v for k, v in chosen.items() if not np.isclose(v, control[k], rtol=1e-3)}
    return ", ".join(f"{name}: {value:.3g}" for name, value in changed.items()) or "nothing"


def search(options: Options) -> str:
    """Run both stages and give the tables."""
    reference = read_statistics(options.reference)
    members, pressure = prepared(options)
    control = members.sets[0]
    begun = run_stage(members, options.days, options.out / "stage_1.npz")
    found = misfits({k: v.mean(1) for k, v in begun.items()}, pressure, reference)
    values = np.stack(list(found.values()), axis=1)
    alive = np.isfinite(values).all(axis=1)
    if not alive[0]:
        raise ClimSimError("the control became unstable: search beside another tuning")
    model = fit(np.array([coded(one) for one in members.sets])[alive], values[alive])
    chosen = [control, *(decoded(candidate(model, penalty)) for penalty in PENALTIES)]
    effects = effects_table(model, list(found))
    # What the first stage gave is kept whatever becomes of the second.
    changes = "\n".join(
        f"- {name}: {described(control, one)}" for name, one in zip(NAMES, chosen, strict=True)
    )
    write(options.out / TABLES, f"{effects}\n\n{changes}\n")
    members.restart(~alive)
    turn = np.arange(options.sets) % len(chosen)
    members.take([chosen[which] for which in turn])
    ended = run_stage(members, options.days, options.out / "stage_2.npz")
    means = {
        name: np.stack([values[turn == which].mean((0, 1)) for which in np.unique(turn)])
        for name, values in ended.items()
    }
    beside = candidates_table(means, misfits(means, pressure, reference), NAMES[: len(set(turn))])
    return f"{effects}\n\n{changes}\n\n{beside}\n"


def prepared(options: Options) -> tuple[PerturbedMembers, Array]:
    """The members at their starts, with the sets of the design, and the pressure of the levels."""
    first, *others = options.starts or (SHIPPED,)
    host = build_host({"start": str(first)})
    starts = [host.snapshot()]
    for path in others:
        host.start_from(Path(path))
        starts.append(host.snapshot())
    names = [name for name in RANGES if name != DIFFUSION_HOURS]
    control = {DIFFUSION_HOURS: host.config.damping_hours}
    control |= tuned_values(host.core.model.physics, names)
    runs = [decoded(row[: len(RANGES)]) for row in design()]
    sets = [control, *runs][: options.sets]
    return PerturbedMembers(host, starts, sets), 1000.0 * (host.grid.hyam + host.grid.hybm)


def write(path: Path, text: str) -> None:
    """Write a text whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def parsed(arguments: Sequence[str]) -> Options:
    """What was asked for on the command line."""
    most = len(design()) + 1
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of means and tables")
    parser.add_argument(
        "--reference", type=Path, required=True, help="CSV of E3SM-MMF's statistics"
    )
    parser.add_argument(
        "--starts", type=Path, nargs="+", default=(), metavar="FILE", help="restart files"
    )
    parser.add_argument("--days", type=int, default=10, help="of each stage (default 10)")
    parser.add_argument(
        "--sets", type=int, default=most, help=f"side by side, 2 to {most} (default {most})"
    )
    given = parser.parse_args(arguments)
    if not 2 <= given.sets <= most:
        parser.error(f"--sets: expected 2 to {most}, found {given.sets}")
    if given.days < 1:
        parser.error(f"--days: expected 1 or more, found {given.days}")
    for path in (given.reference, *given.starts):
        if not path.is_file():
            parser.error(f"{path}: no such file")
    return Options(given.out, given.reference, tuple(given.starts), given.days, given.sets)


def main(arguments: Sequence[str]) -> None:
    """Search, print the tables and store them."""
    options = parsed(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        text = search(options)
    except ClimSimError as error:
        sys.exit(f"climate_search: error: {error}")
    write(options.out / TABLES, text)
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
