"""Synthetic stores, run folders and metrics with known properties and unequal axes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise, product
from pathlib import Path
from zlib import crc32

import numpy as np
import xarray
from cftime import DatetimeNoLeap as Date

from climsim.constants import E3SM
from climsim.data.store.config import StoreLayout
from climsim.data.store.creation import StoreCoordinates, create_arrays, seal_store
from climsim.data.store.opened import Store, open_store
from climsim.data.store.shards import write_arrays
from climsim.evaluation.block import Block
from climsim.evaluation.config import OfflineConfig, OnlineConfig
from climsim.evaluation.members import NETWORKS, RECIPES, Member
from climsim.evaluation.offline import member_attributes
from climsim.evaluation.offline_dataset import offline_dataset
from climsim.evaluation.offline_score import accumulate
from climsim.evaluation.online import evaluate_online
from climsim.evaluation.stability import Outcome, alive_fraction
from climsim.grid import ColumnGrid
from climsim.interfaces import V2, Interface
from climsim.netcdf import write_netcdf, write_variables
from climsim.online.history import Sample, history_variables
from climsim.physics.columns import layer_mass
from climsim.runs.streams import STREAMS
from climsim.variables import OUTPUTS, SCALARS_OUT, TARGETS, variable
from tests.grids import make_globe, make_grid

SCALES = {
    "ptend_t": 5e-5,
    "ptend_q0001": 3e-8,
    "ptend_q0002": 1e-9,
    "ptend_q0003": 1e-9,
    "ptend_u": 1e-5,
    "ptend_v": 1e-5,
    "cam_out_PRECC": 3e-8,
    "cam_out_PRECSC": 2e-9,
}


def write_store(
    path: Path, steps: int = 10, columns: int = 7, levels: int = 6, validation: int = 0
) -> Store:
    """A store whose last steps are the test split; cloud tendencies vanish on the top two levels.

    Steps 0 and 1 lack memory; the first ``validation`` ones are of that split.
    """
    grid = make_grid(columns, levels)
    rng = np.random.default_rng(5)
    split = np.where(np.arange(steps) < steps // 3, 0, 2).astype(np.int8)
    split[:validation] = 1
    memory = np.minimum(np.arange(steps), 2).astype(np.int8)
    names = (*V2.variables.names, *(n for n in OUTPUTS.names if n not in V2.variables.names))
    times = np.arange(steps) * 1200
    coordinates = StoreCoordinates(grid, times, split, memory)
    create_arrays(path, coordinates, StoreLayout(block_steps=4), names)
    values: dict[str, np.ndarray] = {}
    for name in names:
        shape = (steps, columns, *((levels,) if variable(name).profile else ()))
        values[name] = rng.normal(0, SCALES.get(name, 1.0), shape)
        if name == "state_ps":
            values[name] = rng.uniform(9e4, 1.02e5, shape)
        elif name in SCALARS_OUT:
            values[name] = np.abs(values[name])
        elif name in ("ptend_q0002", "ptend_q0003"):
            values[name][..., :2] = 0.0
    shards = []
    for number, first in enumerate(range(0, steps, 4)):
        part = {n: np.ascontiguousarray(v[first : first + 4], "f4") for n, v in values.items()}
        shards.append(write_arrays(path, number, "00" * 32, part))
    seal_store(path, shards, {})
    return open_store(path)


@dataclass(frozen=True)
class LinearModel:
    """A model with known errors: outputs are a fixed random linear map of scaled inputs."""

    n_levels: int
    interface: Interface = V2
    seed: int = 11

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        size = OUTPUTS.size(self.n_levels)
        rng = np.random.default_rng(self.seed)
        matrix = rng.normal(0, 1, (inputs.shape[1], size)) / 1e5
        scale = np.empty(size)
        for name, where in OUTPUTS.slices(self.n_levels).items():
            scale[where] = SCALES.get(name, 1.0)
        return (np.tanh(inputs @ matrix) * scale).astype(np.float32)


def weather(grid: ColumnGrid, day: float, seed: int, spread: float = 1.0, bias: float = 0.0):
    """History fields of one day: a plausible zonal-mean climate, waves, and a bias.

    Args:
        grid: columns and levels.
        day: of the run.
        seed: of the waves' phases.
        spread: amplitude of the waves that depend on the seed.
        bias: strength of a systematic error (warm upper tropics, moist low levels).
    """
    rng = np.random.default_rng((seed, 1))
    phases = rng.uniform(0, 2 * np.pi, 8)
    lat, lon = np.deg2rad(grid.lat), np.deg2rad(grid.lon)
    ps = 1e5 - 3e3 * np.exp(-(((lon - 1.5) / 0.5) ** 2) - ((lat - 0.6) / 0.3) ** 2)
    p = grid.midpoint_pressure(ps)
    s = p / 1e5
    wave = sum(
        np.sin((k + 1) * lon + phase + 0.7 * day / (k + 1)) * np.cos(lat) ** 2
        for k, phase in enumerate(phases)
    ) / np.sqrt(8)
    wave = spread * wave * np.sin(np.pi * np.clip(s, 0, 1)) ** 0.5
    surface = 302 - 45 * np.sin(lat) ** 2
    t = np.maximum(surface * np.maximum(s, 1e-3) ** 0.19, 205 + 25 * (s < 0.1) * (0.1 - s) / 0.1)
    t = t + 3 * wave + bias * 2.5 * np.exp(-(((s - 0.3) / 0.2) ** 2)) * np.cos(lat) ** 2
    q = 1.7e-2 * np.cos(lat) ** 3 * s**3 * np.exp(0.2 * wave) * (1 + 0.08 * bias) + 2e-6
    ramp = np.clip((t - 253.16) / 20, 0, 1)
    cloud = 3e-5 * np.exp(-(((s - 0.7) / 0.25) ** 2)) * (1 + 0.5 * wave) ** 2 * (1 + 0.1 * bias)
    rain = (
        np.exp(rng.normal(0, 1.2, lat.shape) + 0.8 * wave[-3])
        * (0.5 + 7 * np.exp(-(((np.rad2deg(lat) - 6) / 12) ** 2)) + 2 * np.sin(2 * lat) ** 2)
        * (1 + 0.1 * bias)
        / 8.64e7
        * 0.5
    )
    land = ((np.sin(2 * lon) + np.sin(lat * 2 + 1)) > 0.5).astype(float)
    ice = np.where(np.abs(grid.lat) > 70, 1.0 - land, 0.0)
    mass = layer_mass(grid.interface_pressure(ps), E3SM)
    return {
        "T": t,
        "Q": q,
        "U": 25 * np.sin(2 * np.abs(lat)) * np.sin(np.pi * s) ** 2 + 5 * wave,
        "V": 4 * wave,
        "CLDLIQ": ramp * cloud,
        "CLDICE": (1 - ramp) * cloud,
        "DTPHYS": 2e-5 * wave - 1e-5 + bias * 2e-6,
        "DQ1PHYS": 1e-8 * wave,
        "DQ2PHYS": 1e-10 * wave,
        "DQ3PHYS": 1e-10 * wave,
        "DUPHYS": 1e-5 * wave,
        "PS": ps,
        "PRECT": rain,
        "TMQ": (q * mass).sum(axis=0),
        "TGCLDLWP": (ramp * cloud * mass).sum(axis=0),
        "TGCLDIWP": ((1 - ramp) * cloud * mass).sum(axis=0),
        "FLUT": 265 - 70 * np.sin(lat) ** 2 - 25 * np.exp(-((lat / 0.2) ** 2)) + 8 * wave[-5],
        "FSNT": 340 * np.cos(lat) ** 1.2 - 30 + 6 * wave[-5] + 4 * bias,
        "LANDFRAC": land,
        "ICEFRAC": ice,
        "OCNFRAC": 1 - land - ice,
    }


def confidences(fields: dict[str, np.ndarray], seed: int, factor: float) -> dict[str, np.ndarray]:
    """Predicted losses that follow the tendencies of the fields, times a factor."""
    rng = np.random.default_rng(seed)
    names = {"DT": "DTPHYS", "DQ1": "DQ1PHYS", "DQN": "DQ2PHYS", "DU": "DUPHYS"}
    sizes = {key: np.abs(fields[name]) for key, name in names.items()}
    return {
        f"{key}PHYSCONF": 0.05 * factor * size / size.mean() * rng.lognormal(0, 0.3, size.shape)
        for key, size in sizes.items()
    }


def write_run(
    folder: Path,
    days: int = 4,
    seed: int = 0,
    growing: float = 0.0,
    bias: float = 0.0,
    months: int = 0,
    record: dict | None = None,
    grid: ColumnGrid | None = None,
    confident: bool = False,
) -> Path:
    """A run folder: daily (and 6-hourly as ``h2``) means, or months, and its record.

    Args:
        folder: to write.
        days: number of daily means (the waves of another seed grow in with the days).
        seed: of the waves that grow in.
        growing: share of the other waves reached on the last day.
        bias: see `weather`.
        months: number of monthly means, written in place of days.
        record: further entries of the record.
        grid: columns and levels.
        confident: whether the model has a confidence head.
    """
    grid = grid or make_globe()
    start = Date(1, 1, 1)
    lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    spans: list[tuple[str, float, float]] = [("h1", d, d + 1) for d in range(days)]
    spans += [("h2", d / 4, (d + 1) / 4) for d in range(4 * days)]
    if months:
        edges = np.concatenate([[0], np.cumsum([lengths[m % 12] for m in range(months)])])
        spans = [("h0", a, b) for a, b in pairwise(edges)]
    for stream, first, last in spans:
        share = growing * last / max(spans[-1][2], 1)
        fields = weather(grid, last, 100, 1 - 0.3 * share, bias * share)
        other = weather(grid, last, 200 + seed, 1.0, 0.0)
        base = weather(grid, last, 100)
        noise = {n: 0.5 * share * (other[n] - base[n]) for n in fields if n not in FIXED}
        fields = {n: x + noise.get(n, 0.0) for n, x in fields.items()}
        fields["PRECT"] = np.maximum(fields["PRECT"], 0)
        begin, end = (start + timedelta(days=float(x)) for x in (first, last))
        if stream == "h2":
            fields = {n: fields[n] for n in ("PRECT", *FIXED)}
        elif confident:
            fields |= confidences(fields, seed, 1 + share)
        name = STREAMS[stream].file(begin)
        path = folder / f"{folder.name}.eam.{stream}.{name}.nc"
        if stream == "h2":
            path = path.with_name(path.name.replace("00000", f"{begin.hour * 3600:05d}"))
        folder.mkdir(parents=True, exist_ok=True)
        sample = Sample(begin, end, 72, fields)
        write_variables(path, history_variables([sample], grid), {"case": folder.name}, "time")
    length = spans[-1][2] if spans else 0
    known = {
        "status": "complete",
        "days": float(length),
        "days_wanted": float(length),
        "sypd": 12.5,
    }
    (folder / "record.json").write_text(json.dumps(known | (record or {})))
    return folder


FIXED = ("LANDFRAC", "ICEFRAC", "OCNFRAC", "PS")


def offline_metrics(
    network: str = "unet",
    recipe: str = "standard",
    seed: int = 7,
    steps: int = 4,
    lost: tuple[int, ...] | None = None,
):
    """Offline metrics of a member whose skill depends on network, recipe and level.

    Args:
        network: of the member.
        recipe: of the member.
        seed: of the member.
        steps: that are scored.
        lost: column, and feature if not all, whose first prediction is NaN; None for none.
    """
    grid = make_globe()
    rng = np.random.default_rng((sum(network.encode()), sum(recipe.encode()), seed))
    levels, shape = grid.n_levels, (steps, grid.n_columns)
    s = grid.hyam + grid.hybm
    quality = 0.75 + 0.2 * rng.random() + (0.04 if recipe == "v6" else 0.0)
    truth = np.zeros((*shape, OUTPUTS.size(levels)))
    prediction = np.zeros_like(truth)
    weather_rng = np.random.default_rng(1)
    rain = weather_rng.lognormal(0, 1.5, shape) * np.cos(np.deg2rad(grid.lat)) / 8.64e7
    for i, (name, where) in enumerate(OUTPUTS.slices(levels).items()):
        scale = SCALES.get(name, 100.0)
        if variable(name).profile:
            profile = np.exp(-(((s - 0.3 - 0.07 * i) / 0.3) ** 2)) * (s > 0.05)
            coslat = np.cos(np.deg2rad(grid.lat))[:, None]
            wave = weather_rng.normal(0, 1, (*shape, levels)) * coslat
            values = scale * profile * (wave + rain[..., None] * 8.64e7 / 8)
            skill = np.clip(quality - 0.1 * i + 0.3 * (s - 0.5), -0.2, 0.97)
            error = np.sqrt(1 - np.maximum(skill, 0)) * scale * profile
            drift = 0.2 * (rng.random() - 0.5) * scale * profile * (rain[..., None] * 8.64e7 > 5)
            guess = values + error * rng.normal(0, 1, values.shape) + drift
        else:
            values = rain[..., None] if name == "cam_out_PRECC" else None
            values = scale * weather_rng.random((*shape, 1)) if values is None else values
            guess = values * (1 + (1.1 - quality) * rng.normal(0, 0.4, values.shape))
        truth[..., where], prediction[..., where] = values, guess
    if lost is not None:
        prediction[0, *lost] = np.nan
    pressure = np.full(shape, 9.9e4)
    losses = None
    if recipe == "conf_loss":
        loss = rng.lognormal(-6, 2, (*shape, TARGETS.size(levels)))
        guess = loss**0.8 * rng.lognormal(0, 0.7, loss.shape)
        losses = (guess, loss)
    land = np.broadcast_to(weather(grid, 0.0, 1)["LANDFRAC"] > 0.5, shape)
    surfaces = np.stack([land, ~land & (grid.lat < 60), ~land & (grid.lat >= 60)])
    block = Block(
        grid,
        truth,
        prediction,
        pressure,
        longwave_up=np.full(shape, 380.0),
        surfaces=surfaces,
        losses=losses,
    )
    dataset = offline_dataset(accumulate(block), grid)
    config = OfflineConfig(Path("model.pt"), Path("store.zarr"), Path("out.nc"))
    hours = {"unet": 5.9, "squeezeformer": 33.0, "pure_resLSTM": 8.7}.get(network, 8.0)
    dataset.attrs |= member_attributes(Member(network, recipe, seed), {}, config)
    dataset.attrs |= {"training_hours": hours + 0.2 * rng.random(), "training_device": "1 GPU"}
    dataset.attrs["parameters"] = 1_000_000 + 7000 * sum(network.encode())
    return dataset


def _of_member(number: int, member: Member) -> tuple[int, int]:
    """What the random numbers of a member follow from."""
    return number, sum(member.network.encode())


def _spread(name: str, values: np.ndarray, members: list[Member]) -> np.ndarray:
    """A measure of many members from that of one: its error, scaled for each.

    Args:
        name: of the measure.
        values: (run, ...) of one member, then of the reference.
        members: what the result is of.
    """
    # By name, so that another score changes no figure of those that were there.
    seeds = [(*_of_member(i, m), crc32(name.encode())) for i, m in enumerate(members)]
    noise = np.array([np.random.default_rng(seed).random() for seed in seeds])
    rank = np.array([NETWORKS.index(m.network) for m in members])
    factor = (1.0 + 0.5 * noise + 0.2 * rank).reshape(-1, *[1] * (values.ndim - 1))
    own, reference = values[0], values[1]
    if name.startswith(("series", "map", "zonal_mean")) and "CONF" not in name:
        return reference + factor * (own - reference)
    if name == "precipitation_frequency":
        with np.errstate(divide="ignore", invalid="ignore"):
            return reference * (own / reference) ** factor
    if "confidence" in name or name.endswith("CONF"):
        confident = np.array([m.recipe == "conf_loss" for m in members]).reshape(factor.shape)
        return own * np.where(confident, factor, np.nan)
    scaled = name.startswith(("growth", "rmse", "zonal_bias", "tropospheric"))
    return own * (factor if scaled else np.ones_like(factor))


def spread_members(base: xarray.Dataset, members: list[Member]) -> xarray.Dataset:
    """Online metrics of many members from those of one: errors scaled, some runs cut short.

    Args:
        base: online metrics with one member first, then the reference and the floor.
        members: what the result holds; every seventh one becomes unstable half-way.
    """
    count = len(members)
    joined = base.isel(run=[0] * count + [1, 2])
    measured = {str(n): a for n, a in joined.items() if "run" in a.dims and a.dtype.kind == "f"}
    for name, found in measured.items():
        if not name.startswith("first_month"):
            found.values[:count] = _spread(name, base[name].values, members)
    networks = np.array([NETWORKS.index(member.network) for member in members])
    noise = [np.random.default_rng(_of_member(i, m)).random() for i, m in enumerate(members)]
    joined["sypd"][:count] = 20.0 / (1 + networks) + noise
    dead = np.flatnonzero(np.arange(count) % 7 == 6)
    for found in measured.values():
        if found.dims[-1] == "month":
            found.values[dead, ..., base.sizes["month"] // 2 :] = np.nan
    joined["days"][dead] = joined["days"][dead] / 2
    joined["mean_days"][dead] = joined["mean_days"][dead] / 2
    status = joined["status"].values.astype(object)
    status[dead] = "unstable"
    joined["status"] = ("run", status)
    for key in ("network", "recipe", "seed"):
        named = [*(getattr(m, key) for m in members), *base[key].values[1:].tolist()]
        joined[key] = ("run", named)
    joined["run"] = [*(m.label for m in members), *base["run"].values[1:].tolist()]
    wanted = float(base["days"][0])
    outcomes = [
        (m, Outcome(status[i], float(joined["days"][i]), wanted, 1.0))
        for i, m in enumerate(members)
    ]
    days = np.unique([0.0, *(o.days for _, o in outcomes)])
    groups, fraction = alive_fraction(outcomes, days)
    joined = joined.drop_dims(["group", "elapsed"]).assign(
        alive_fraction=(("group", "elapsed"), fraction),
        group_network=("group", [g[0] for g in groups]),
        group_recipe=("group", [g[1] for g in groups]),
        elapsed=days,
    )
    records = {m.label: {"status": o.status} for m, o in outcomes}
    joined.attrs |= {"records": json.dumps(records), "problems": json.dumps({})}
    return joined


def write_study(
    folder: Path,
    networks: tuple[str, ...] = NETWORKS,
    recipes: tuple[str, ...] = RECIPES,
    seeds: tuple[int, ...] = (7, 43, 1024),
    months: int = 4,
) -> tuple[tuple[Path, ...], Path]:
    """Offline and online metrics of a whole study.

    Returns:
        The files of offline metrics, and the one of online metrics.
    """
    members = [Member(n, r, s) for r in recipes for n in networks for s in seeds]
    offline = []
    for member in members:
        path = folder / f"{member.label}.nc"
        metrics = offline_metrics(member.network, member.recipe, member.seed)
        write_netcdf(metrics, path, checked=True)
        offline.append(path)
    for name, growing in (("mmf1", 0.0), ("mmf2", 0.1), ("unet-standard-7", 1.0)):
        shape = {"seed": 2, "growing": growing, "bias": growing, "confident": growing == 1.0}
        shape["record"] = {"physics": "MMF"}
        write_run(folder / name, days=3, **shape)
        write_run(folder / name, months=months, **shape)
    config = OnlineConfig(
        (folder / "unet-standard-7",), folder / "mmf1", folder / "base.nc", folder / "mmf2"
    )
    with xarray.open_dataset(evaluate_online(config)) as base:
        metrics = spread_members(base.load(), members)
        write_netcdf(metrics, folder / "online.nc", checked=True)
    return tuple(offline), folder / "online.nc"


def trained_again(online: xarray.Dataset) -> xarray.Dataset:
    """Online metrics whose members with a confidence loss are those of iteration 1 instead."""
    found = online.copy(deep=True)
    for name in ("recipe", "group_recipe"):
        recipes = found[name].values.astype(object)
        again = np.where(recipes == "conf_loss", "standard_visited1", recipes)
        found[name] = found[name].dims, again
    return found


def short_runs(
    members: list[Member], starts: int = 12, days: int = 10, behind: float = 0.3
) -> xarray.Dataset:
    """Metrics of hindcasts: each start has its weather, each member is a step behind the last one.

    Args:
        members: in the order of their errors; every third loses the run from its first start.
        starts: number of starts, five days apart.
        days: of each run.
        behind: error of a member on the last day beyond that of the one before it [K].
    """
    rng = np.random.default_rng(3)
    rows = list(product(range(len(members)), range(starts)))
    weather, growth = rng.normal(0, 0.4, starts), np.sqrt(np.arange(1, days + 1) / days)
    error = [3.0 + weather[s] + behind * place + rng.normal(0, 0.05) for place, s in rows]
    errors = np.array(error)[:, None] * growth
    lost = np.array([place % 3 == 2 and start == 0 for place, start in rows])
    errors[lost, days // 2 :] = np.nan
    keys = ("network", "recipe", "seed")
    names = {key: ("run", [getattr(members[m], key) for m, _ in rows]) for key in keys}
    return xarray.Dataset(
        {
            "growth_daily_T": (("run", "day"), errors),
            "status": ("run", np.where(lost, "unstable", "complete")),
            "unrelated_daily_T": 4.0,
        },
        {
            "run": [f"{members[m].label}-day{5 * start:04d}" for m, start in rows],
            "role": ("run", ["member"] * len(rows)),
            "start": ("run", [5.0 * start for _, start in rows]),
            "day": np.arange(1.0, days + 1),
            **names,
        },
        {"hindcast_days": days},
    )
