"""What a product is made from: by that its job is up to date or not, and it is continued or not.

The plan holds what a job reads that no other job makes, so that data or code that changed bring
the job about again. When it runs, a product that other settings, inputs or code made is put aside.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NotRequired, TypedDict

from climsim.cards import flatten, setting
from climsim.errors import ClimSimError
from climsim.files import file_hash, read_json, remove, stored_attributes, write_json
from climsim.keys import Values
from climsim.plugins import is_reference, reference_file
from climsim.stage import EVERYTHING
from climsim.workflow.jobs import Job
from climsim.workflow.steps import STEPS

REPLACED = "replaced"
_STORE_MARK = "zarr.json"
_LENGTHS = ("days", "segments")
"""Keys that say how much a product holds: it grows to more of it, and does not shrink to less."""


class MadeFrom(TypedDict):
    """What a product was made from, as the file beside its log says it.

    Attributes:
        settings: of its stage, by dotted key.
        inputs: fingerprint of each that the study names, by its path.
        given: of what else it reads that no job makes; earlier versions did not note it.
    """

    settings: Values
    inputs: dict[str, str]
    given: NotRequired[dict[str, str]]


def made_from(folder: Path, job: Job, products: Collection[str]) -> MadeFrom:
    """What a job that can resume makes its product from now.

    Args:
        folder: of the experiment.
        job: one with a product.
        products: of all jobs.
    """
    inputs = {path: identity(folder / path) for path in job.inputs}
    return MadeFrom(
        settings=flatten(job.settings), inputs=inputs, given=given_to(folder, job, products)
    )


def given_to(
    folder: Path,
    job: Job,
    products: Collection[str],
    known_by: Callable[[Path], str] | None = None,
) -> dict[str, str]:
    """Code, folders and files that a job reads, that no job makes, and how each is known again.

    Files that the study itself names are left out: Snakemake compares their times.

    Args:
        folder: of the experiment.
        job: one of the plan.
        products: of all jobs.
        known_by: identity of a path; None for `given_identity`.

    Returns:
        Identity by path, in the experiment's folder or absolute.
    """
    made = {Path(product) for product in products}
    identify = known_by or given_identity
    found = dict.fromkeys(_read_by(folder, job))
    paths = (p for p in found if not made.intersection((Path(p), *Path(p).parents)))
    # What is gone once its product was made, such as raw data in an archive, is not missed.
    before = _noted(folder, job).get("given", {})
    given = {p: identify(folder / p) if (folder / p).exists() else before.get(p) for p in paths}
    return {path: known for path, known in given.items() if known is not None}


def digest_of(
    folder: Path, job: Job, products: Collection[str], known_by: Callable[[Path], str]
) -> str:
    """Hash by which the plan says that a job has changed.

    Args:
        folder: of the experiment.
        job: one of the plan.
        products: of all jobs.
        known_by: identity of a path.
    """
    noted = _noted(folder, job)
    if noted and "given" not in noted:
        # An earlier version made the product: what it was given is taken to be the same.
        return job.digest({})
    return job.digest(given_to(folder, job, products, known_by))


def _note(folder: Path, job: Job) -> Path:
    return folder / "logs" / f"{job.name}.made-from.json"


def _noted(folder: Path, job: Job) -> dict[str, dict[str, str]]:
    """The note of a job; empty where it has none."""
    path = _note(folder, job)
    return read_json(path) if path.exists() else {}


def _read_by(folder: Path, job: Job) -> Iterator[str]:
    """Paths of `given_to`, those that other jobs make among them."""
    settings = job.settings or {}
    for path in job.inputs:
        known = (folder / path).is_file() or (folder / path / _STORE_MARK).is_file()
        if not known:
            yield path
    for key in STEPS[job.rule].stage.needs:
        value = setting(settings, key)
        for given in value if isinstance(value, list | tuple) else [value]:
            if given and str(given) not in job.inputs:
                yield str(given)
    for value in flatten(settings).values():
        for name in value if isinstance(value, list | tuple) else [value]:
            if is_reference(str(name)):
                yield str(reference_file(str(name)))


def given_identities() -> Callable[[Path], str]:
    """`given_identity`, which looks at each path once: several jobs read the same."""
    return cache(given_identity)


def given_identity(path: Path) -> str:
    """What tells one version of something that is given from another.

    Args:
        path: as of `identity`, or a folder, which is known by the names, sizes and modification
            times of the data files in it and below.

    Raises:
        ClimSimError: if a file of the folder cannot be read.
    """
    if path.is_file() or (path / _STORE_MARK).is_file():
        return identity(path)
    # Here, not above: most jobs read no raw data.
    from climsim.data.raw.identity import file_label
    from climsim.data.raw.walk import iterate_step_files

    # The grid file lies beside the step files or beside their folders.
    files = sorted({*iterate_step_files(path), *path.glob("*.nc")})
    files = files or sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file_label(file, 'time')}\n".encode())
    return digest.hexdigest()


def identity(path: Path) -> str:
    """What tells one version of a product from another.

    Args:
        path: a store or a netCDF file with a ``fingerprint``, any other file, or a folder.

    Returns:
        Its fingerprint, or else the hash of a file; empty for other folders, which their stages
        compare with what they made of them.
    """
    if path.is_file():
        return _fingerprint(path) if path.suffix == ".nc" else file_hash(path)
    if (path / _STORE_MARK).is_file():
        return str(stored_attributes(path).get("fingerprint", ""))
    return ""


def _fingerprint(path: Path) -> str:
    try:
        return str(stored_attributes(path).get("fingerprint", "")) or file_hash(path)
    except ClimSimError:
        # The stage that reads it says what is wrong.
        return file_hash(path)


def put_aside_if_other(folder: Path, job: Job, now: MadeFrom, share: float) -> None:
    """Move a product that was made from something else to ``replaced/``, over the one before it.

    Args:
        folder: of the experiment.
        job: one with a product.
        now: what it is made from now.
        share: of what was asked for last time, what is there, from 0 to 1.
    """
    note = _note(folder, job)
    product = folder / job.product
    if product.exists() and note.exists() and _is_other(folder, job, read_json(note), now, share):
        aside = folder / REPLACED / job.product
        remove(aside)
        aside.parent.mkdir(parents=True, exist_ok=True)
        # Across disks, too: a folder of the study may be a link to another one.
        shutil.move(product, aside)
        remove(folder / job.log)
    write_json(note, now)


def _is_other(folder: Path, job: Job, before: MadeFrom, now: MadeFrom, share: float) -> bool:
    step = STEPS[job.rule]
    stage = step.stage
    if step.anew:
        return True
    if stage.may_change == EVERYTHING:
        # The stage itself sees what is new and does only that; what is gone it refuses, and of
        # raw data that the study made anew, or that are others now, that would be for good.
        raw = now["settings"].get("raw")
        own = str(raw) not in now.get("given", {})
        moved = before["settings"].get("raw") != raw
        return (own or moved) and _has_lost_steps(folder, job)
    if before["inputs"] != now["inputs"]:
        return True
    if "given" in before and before["given"] != now.get("given"):
        return True
    old, new = before["settings"], now["settings"]
    # A key that only one of them knows came or went with a version of the package.
    known = old.keys() & new.keys()
    compared = known - set(stage.may_change)
    if any(stage.present(key, old[key]) != new[key] for key in compared):
        return True
    # Runs that are longer than asked for are read as far; step pairs are taken whole.
    lengths = _LENGTHS if stage.makes == "raw" else ()
    return any(float(str(old[key])) * share > float(str(new[key])) for key in known & {*lengths})


def _has_lost_steps(folder: Path, job: Job) -> bool:
    """Whether a store holds steps that its raw data no longer have."""
    # Here, not above: most jobs prepare no store.
    from climsim.configuration import build_config
    from climsim.data.store.config import PrepareConfig
    from climsim.data.store.opened import open_store
    from climsim.data.store.prepare import lost_steps, make_plan

    config = build_config(PrepareConfig, job.settings or {})
    config = replace(
        config,
        raw=folder / config.raw,
        outputs=folder / config.outputs if config.outputs else "",
        also=tuple(folder / path for path in config.also),
        grid=folder / config.grid if config.grid else None,
    )
    try:
        return lost_steps(open_store(folder / job.product), make_plan(config)).size > 0
    except ClimSimError:
        # The stage says what is wrong with the store or the raw data.
        return False
