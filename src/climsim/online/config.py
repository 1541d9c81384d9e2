"""How many runs an ensemble has, and how they differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path

from climsim.errors import ClimSimError
from climsim.files import require_apart
from climsim.names import as_name
from climsim.runs.config import RunConfig
from climsim.validation import Checks, whole

_MANY = {"models": "model", "starts": "start", "seeds": "perturbation_seed"}
"""Keys in which members of an ensemble differ, in the order of their names, and those of a run."""


@dataclass(frozen=True)
class EnsembleConfig(RunConfig):
    """What the members share, as in a single run, and how they differ.

    Attributes:
        models: exported models; empty means the one of ``model``, or the host's own physics.
        seeds: perturbation seeds of the start; empty means the one of ``perturbation_seed``.
        starts: restart files of the host, from each of which every model runs, such as those that
            a run keeps (``kept_restart_days``); empty means the one of ``start``.
        parallel: members that run at a time, each in a process of its own; 0 means one on each
            core.
        together: members that step in one program, their columns side by side: on a GPU dozens
            cost little more than one. 1 means none.
    """

    models: tuple[Path, ...] = ()
    seeds: tuple[int, ...] = ()
    starts: tuple[Path, ...] = ()
    parallel: int = 0
    together: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "models", tuple(Path(m) for m in self.models))
        object.__setattr__(self, "seeds", tuple(self.seeds))
        object.__setattr__(self, "starts", tuple(Path(s) for s in self.starts))
        for many, one in _MANY.items():
            if getattr(self, many) and getattr(self, one) is not None:
                raise ClimSimError(f"{many}: given together with {one}: keep one of the two")
        for many in ("models", "starts"):
            require_apart({many: getattr(self, many)})
        for number, seed in enumerate(self.seeds):
            whole(f"seeds[{number}]", seed)
        check = Checks(self)
        check.whole("parallel")
        check.whole("together", least=1)
        if self.starts and self.together > 1:
            raise ClimSimError(
                f"together: expected 1 with starts, as members of one program have one date, found "
                f"{self.together}: leave it out"
            )

    def members(self) -> list[RunConfig]:
        """The runs: each named by case, model, start and seed, in a folder of that name.

        Raises:
            ClimSimError: if two of them have one name.
        """
        shared = RunConfig(**{key.name: getattr(self, key.name) for key in fields(RunConfig)})
        members = []
        for values in product(*(getattr(self, many) or (None,) for many in _MANY)):
            given = {k: v for k, v in zip(_MANY.values(), values, strict=True) if v is not None}
            words = (as_name(v.stem) if isinstance(v, Path) else str(v) for v in given.values())
            name = "-".join((self.case, *words))
            members.append(replace(shared, case=name, folder=self.folder / name, **given))
        for name, count in Counter(member.case for member in members).items():
            if count > 1:
                raise ClimSimError(
                    f"{', '.join(_MANY)}: expected members of different names, found {count} of "
                    f"name {name}: give the files or seeds once, or rename a file"
                )
        return members
