"""Configuration of an experiment: members, data, stages and where they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from climsim.errors import ClimSimError, unknown_name
from climsim.keys import Values
from climsim.names import as_name, check_name
from climsim.plugins import absolute_reference, short_name
from climsim.validation import Checks, different, each_of
from climsim.workflow import former
from climsim.workflow.steps import REFERENCES, STEPS


@dataclass(frozen=True)
class Members:
    """Which models a study has: the product of three lists is trained, further files are taken.

    Attributes:
        networks: names of networks, or ``path/to/file.py:Class`` for one of your own.
        recipes: names of recipes.
        seeds: seeds of initialization and shuffling.
        models: TorchScript files of other origin that are scored and coupled beside them.
    """

    networks: tuple[str, ...]
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    models: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for key in ("networks", "recipes", "seeds"):
            entries = getattr(self, key)
            if not entries and not self.models:
                raise ClimSimError(f"members.{key}: expected at least one entry, found none")
            different(f"members.{key}", entries)
        for key, names in (("networks", self.labels()), ("recipes", self.recipes)):
            for name in names:
                if "-" in check_name(name, f"members.{key}"):
                    raise ClimSimError(
                        f"members.{key}: expected names without '-', which stands between network, "
                        f"recipe and seed, found {name!r}: give it another name in a "
                        "configuration file of that group"
                    )
        networks = tuple(absolute_reference(name) for name in self.networks)
        object.__setattr__(self, "networks", networks)
        object.__setattr__(self, "models", tuple(Path(path).absolute() for path in self.models))
        self._check_models()

    def _check_models(self) -> None:
        for path in self.models:
            if not path.is_file():
                raise ClimSimError(f"members.models: {path}: no such file: give its path")
        names = [*self.names(), *REFERENCES, *self.ensembles(self.names())]
        for name in names:
            if names.count(name) > 1:
                raise ClimSimError(
                    f"members: expected members of different names, found {name!r} twice: rename "
                    "one of the files or classes"
                )

    def labels(self) -> tuple[str, ...]:
        """Names of the networks: the class alone of one of your own."""
        return tuple(short_name(name) for name in self.networks)

    def files(self) -> dict[str, Path]:
        """The models of other origin, by the name of their member."""
        return {as_name(path.stem): path for path in self.models}

    def ensembles(self, members: Sequence[str]) -> dict[str, list[str]]:
        """Seeds of each network and recipe that has several, under ``network-recipe``.

        Args:
            members: names of those that there are.
        """
        found = {
            f"{network}-{recipe}": [
                member for seed in self.seeds if (member := f"{network}-{recipe}-{seed}") in members
            ]
            for network in self.labels()
            for recipe in self.recipes
        }
        return {name: seeds for name, seeds in found.items() if len(seeds) > 1}

    def names(self) -> list[str]:
        """``network-recipe-seed`` of every trained member, and the names of further models."""
        trained = [
            f"{network}-{recipe}-{seed}"
            for network in self.labels()
            for recipe in self.recipes
            for seed in self.seeds
        ]
        return [*trained, *(as_name(path.stem) for path in self.models)]


@dataclass(frozen=True)
class DataSource:
    """What a study starts from; without any path it generates its own data.

    Attributes:
        raw: folder of raw step pairs.
        store: prepared store; with it neither raw data nor preparation is needed.
        start: restart file of the embedded model that its online runs start from; None takes
            the end of the generated data, or the host's own start state.
    """

    raw: Path | None = None
    store: Path | None = None
    start: Path | None = None

    def __post_init__(self) -> None:
        for key in ("raw", "store", "start"):
            path = getattr(self, key)
            if path is None:
                continue
            path = Path(path).absolute()
            if not path.exists():
                raise ClimSimError(f"source.{key}: {path}: no such file or folder: give its path")
            object.__setattr__(self, key, path)
        if self.raw is not None and self.store is not None:
            raise ClimSimError("source: expected raw or store, found both: remove one of them")


@dataclass(frozen=True)
class Slurm:
    """How jobs are sent to SLURM.

    Attributes:
        account: account that is charged; None lets SLURM choose.
        partition: partition of CPU nodes, for ``default`` and ``rules`` to refer to.
        gpu_partition: partition of GPU nodes, likewise.
        gres: what a GPU job asks for, likewise.
        jobs: most jobs in the queue at a time.
        check_seconds: seconds between questions about the state of the jobs.
        settle_seconds: seconds that files may need to appear on a shared file system.
        default: resources of every rule, under the names of Snakemake's SLURM plugin
            (``slurm_partition``, ``runtime`` in minutes, ``mem_mb``, ``gres``, ``slurm_extra``
            and the like).
        rules: resources by rule, on top of those; ``threads`` is the number of cores.
    """

    account: str | None = None
    partition: str | None = None
    gpu_partition: str | None = None
    gres: str | None = None
    jobs: int = 100
    check_seconds: int = 40
    settle_seconds: int = 60
    default: Values = field(default_factory=dict)
    rules: dict[str, Values] = field(default_factory=dict)

    def __post_init__(self) -> None:
        former.check_settings(f"slurm.rules.{rule}" for rule in self.rules)
        for rule in self.rules:
            if rule not in STEPS:
                raise unknown_name("slurm.rules", rule, STEPS)
        check = Checks(self, "slurm")
        check.whole("jobs", "check_seconds", least=1)
        check.whole("settle_seconds")


@dataclass(frozen=True)
class ExperimentConfig:
    """A study: its members, its data and the overrides of each stage.

    Attributes:
        name: name of the study.
        folder: where every product goes.
        members: which models are trained.
        source: what it starts from.
        host: climate model of the online runs.
        cores: processor cores Snakemake may use on this machine; 0 for all.
        cores_per_member: cores of one training, evaluation or online run; 0 for all. As many
            members run side by side as find room.
        stages: for each stage, the configuration keys of its command that differ from the
            defaults, nested or dotted.
        online: keys of every online run that differ; null takes the default.
        references: for the reference run ``mmf1`` or ``mmf2``, keys of `online run` that differ.
        networks: for the members of a network, keys of `train` that differ, nested or dotted.
        recipes: for the members of a recipe, likewise.
        slurm: resources on a cluster.
    """

    name: str
    folder: Path
    members: Members
    source: DataSource = field(default_factory=DataSource)
    host: str = "gcm"
    cores: int = 0
    cores_per_member: int = 0
    stages: dict[str, Values] = field(default_factory=dict)
    online: Values = field(default_factory=dict)
    references: dict[str, Values] = field(default_factory=dict)
    networks: dict[str, Values] = field(default_factory=dict)
    recipes: dict[str, Values] = field(default_factory=dict)
    slurm: Slurm = field(default_factory=Slurm)

    def __post_init__(self) -> None:
        check_name(self.name, "name")
        former.check_settings(f"stages.{name}" for name in self.stages)
        each_of("stages", tuple(self.stages), STEPS)
        self._check_names("references", self.references, REFERENCES)
        self._check_names("networks", self.networks, self.members.labels())
        self._check_names("recipes", self.recipes, self.members.recipes)
        Checks(self).whole("cores", "cores_per_member")

    @staticmethod
    def _check_names(key: str, given: Mapping[str, Values], members: tuple[str, ...]) -> None:
        for name in given:
            if name not in members:
                raise unknown_name(f"{key} (settings by member)", name, members)
