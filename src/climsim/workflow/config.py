"""Configuration of an experiment: members, data, stages and where they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path

from climsim.cards import flatten
from climsim.errors import ClimSimError, unknown_name
from climsim.evaluation.members import (
    NETWORKS,
    RECIPES,
    Member,
    member_of_file,
    recipe_of_iteration,
)
from climsim.hosts import HOSTS, REFERENCE_RUNS, reference_runs
from climsim.hosts.settings import GROUP
from climsim.keys import Values
from climsim.names import as_name, check_name
from climsim.online.stages import ONLINE_RUN
from climsim.plugins import absolute_reference, short_name
from climsim.schema import schema
from climsim.training.stages import TRAIN
from climsim.validation import Checks, different, each_of, whole
from climsim.workflow import former
from climsim.workflow.steps import STEPS, path_of

_MOST_ITERATIONS = 8
"""The visited states of each have a thousand years of their own, and dates end in the year 9999."""


@dataclass(frozen=True)
class Trained:
    """A member that the study trains.

    Attributes:
        network: its name, or ``path/to/file.py:Class``.
        recipe: name of the recipe.
        seed: of initialization and shuffling.
        iteration: times that it was trained again on states that it visited.
    """

    network: str
    recipe: str
    seed: int
    iteration: int = 0

    @property
    def recipe_name(self) -> str:
        """Name of the recipe in this iteration."""
        return recipe_of_iteration(self.recipe, self.iteration)

    @property
    def member(self) -> Member:
        """What metrics identify it by."""
        return Member(short_name(self.network), self.recipe_name, self.seed)

    @property
    def label(self) -> str:
        """Name of the member in files and tables."""
        return self.member.label

    @property
    def ensemble(self) -> str:
        """Name of all its seeds together."""
        return Member(short_name(self.network), self.recipe_name, -1).label

    def at(self, iteration: int) -> Trained:
        """The same member in an iteration."""
        return replace(self, iteration=iteration)


@dataclass(frozen=True)
class Members:
    """Which models a study has: the product of three lists is trained, further files are taken.

    Attributes:
        networks: names of networks, or ``path/to/file.py:Class`` for one of your own.
        recipes: names of recipes.
        seeds: seeds of initialization and shuffling.
        models: TorchScript files of other origin that are scored and coupled beside them.
        without: combinations ``network-recipe`` that are left out of the product; those that are
            not in it make no difference.
        iterated_recipes: recipes whose members are trained again in iterations; those that are not
            among the recipes make no difference, and empty stands for all.
    """

    networks: tuple[str, ...]
    recipes: tuple[str, ...]
    seeds: tuple[int, ...]
    models: tuple[Path, ...] = ()
    without: tuple[str, ...] = ()
    iterated_recipes: tuple[str, ...] = ()

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
        self._check_without()
        recipes = dict.fromkeys((*self.recipes, *schema(TRAIN.name).choices_of_groups()["recipe"]))
        each_of("members.iterated_recipes", self.iterated_recipes, recipes)
        object.__setattr__(self, "models", tuple(Path(path).absolute() for path in self.models))
        for path in self.models:
            if not path.is_file():
                raise ClimSimError(f"members.models: {path}: no such file: give its path")

    def _check_without(self) -> None:
        """Refuse to leave out what cannot be, or everything; what is not in the lists is left."""
        networks = dict.fromkeys((*self.labels(), *NETWORKS))
        recipes = dict.fromkeys((*self.recipes, *RECIPES))
        known = [Trained(*pair, -1).ensemble for pair in product(networks, recipes)]
        for name in self.without:
            if name not in known:
                raise unknown_name("members.without", name, known)
        left = {(member.network, member.recipe) for member in self.trained()}
        if self.networks and not left and not self.models:
            raise ClimSimError(
                "members.without: expected at least one combination of network and recipe to "
                "remain, found all left out: remove an entry"
            )

    def check_names(self, iterations: int) -> None:
        """Refuse members of one name.

        Args:
            iterations: times that each is trained again on states that it visited.

        Raises:
            ClimSimError: if two products would have one name.
        """
        members = self.names(iterations)
        reserved = (*REFERENCE_RUNS, *former.REFERENCE_RUNS)
        names = [*members, *reserved, *self.ensembles(members, iterations)]
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

    def trained(self, iterations: int = 0) -> Iterator[Trained]:
        """Every trained member, iteration by iteration.

        Args:
            iterations: times that each is trained again on states that it visited.
        """
        for member in product(self.networks, self.recipes, self.seeds):
            if Trained(*member).ensemble not in self.without:
                yield from map(Trained(*member).at, self.iterations_of(member[1], iterations))

    def iterations_of(self, recipe: str, iterations: int) -> range:
        """Numbers of the iterations of a recipe's members, that on weather alone included.

        Args:
            recipe: name of the recipe.
            iterations: times that members are trained again, where theirs are.
        """
        again = not self.iterated_recipes or recipe in self.iterated_recipes
        return range(iterations + 1 if again else 1)

    def ensembles(self, members: Sequence[str], iterations: int = 0) -> dict[str, list[str]]:
        """Seeds of each network and recipe that has several, under ``network-recipe``.

        Args:
            members: names of those that there are.
            iterations: times that each is trained again on states that it visited.
        """
        found: dict[str, list[str]] = {}
        for member in self.trained(iterations):
            if member.label in members:
                found.setdefault(member.ensemble, []).append(member.label)
        return {name: seeds for name, seeds in found.items() if len(seeds) > 1}

    def names(self, iterations: int = 0) -> list[str]:
        """``network-recipe-seed`` of the trained members, and the names of further models.

        Args:
            iterations: times that each is trained again on states that it visited.
        """
        trained = [member.label for member in self.trained(iterations)]
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
class Hindcasts:
    """Short runs of every member from many starts, by which members are ranked.

    Attributes:
        starts: number of starts, which a run with full physics keeps; 0 makes no such runs.
        days_apart: simulated days between two starts.
        days: simulated days of each run.
    """

    starts: int = 0
    days_apart: int = 5
    days: int = 10

    def __post_init__(self) -> None:
        check = Checks(self, "hindcasts")
        check.whole("starts")
        check.whole("days_apart", "days", least=1)

    @property
    def reference_days(self) -> int:
        """Simulated days of the run with full physics, which all others are measured against."""
        return (self.starts - 1) * self.days_apart + self.days

    @property
    def start_days(self) -> range:
        """Days of that run at which the others begin."""
        return range(0, self.starts * self.days_apart, self.days_apart)


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
        for rule, values in self.rules.items():
            if rule not in STEPS:
                raise unknown_name("slurm.rules", rule, STEPS)
            if values.get("threads") is not None:
                whole(f"slurm.rules.{rule}.threads", values["threads"])
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
        host: climate model that generates the data, unless they are given, and of the online runs.
        hosts: by the name of a host, its options wherever a study on that host builds it; keys of
            ``online`` and ``stages`` take precedence.
        iterations: times that every trained member is coupled to the host to visit states, which
            the host's physics labels, and is trained again on the weather and these; 0 for none.
        hindcasts: short runs from many starts, for a ranking.
        cores: processor cores Snakemake may use on this machine; 0 for all.
        cores_per_member: cores of one training, evaluation or online run; 0 for all. As many
            members run side by side as find room.
        stages: for each stage, the configuration keys of its command that differ from the
            defaults, nested or dotted.
        online: keys of every online run that differ; null takes the default.
        references: for the reference run ``reference`` or ``reference_perturbed`` (on E3SM-MMF
            ``mmf1`` or ``mmf2``), keys of `online run` that differ.
        networks: for the members of a network, keys of `train` that differ, nested or dotted.
        recipes: for the members of a recipe, likewise.
        slurm: resources on a cluster.
    """

    name: str
    folder: Path
    members: Members
    source: DataSource = field(default_factory=DataSource)
    host: str = "gcm"
    hosts: dict[str, Values] = field(default_factory=dict)
    iterations: int = 0
    hindcasts: Hindcasts = field(default_factory=Hindcasts)
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
        runs = reference_runs(self.host)
        former.check_references(self.references, runs)
        # A shipped study that is moved to E3SM gives its settings under the general names.
        known = tuple(dict.fromkeys((*runs, *REFERENCE_RUNS)))
        self._check_names("references", self.references, known)
        self._check_names("networks", self.networks, self.members.labels())
        self._check_names("recipes", self.recipes, self.members.recipes)
        for name in self.hosts:
            if name not in (*HOSTS, short_name(self.host)):
                raise unknown_name("hosts (options by host)", name, HOSTS)
        check = Checks(self)
        check.whole("cores", "cores_per_member", "iterations")
        check.between(0, _MOST_ITERATIONS, "iterations")
        self.members.check_names(self.iterations)

    @property
    def member_names(self) -> list[str]:
        """Every member, in all iterations."""
        return self.members.names(self.iterations)

    @property
    def identified(self) -> dict[str, Member]:
        """Every member by its name, as metrics identify it."""
        trained = {one.label: one.member for one in self.members.trained(self.iterations)}
        return trained | {n: member_of_file(path) for n, path in self.members.files().items()}

    @property
    def host_settings(self) -> Values:
        """The host and its options, as every stage that builds it takes them, dotted."""
        options = flatten(self.hosts.get(short_name(self.host), {}))
        return {"host": self.host, **{f"{GROUP}.{key}": v for key, v in options.items()}}

    @property
    def online_settings(self) -> Values:
        """Keys of every online run that differ, the host and its options among them, dotted."""
        given = {key: value for key, value in flatten(self.online).items() if value is not None}
        return {**self.host_settings, **given}

    def ensembles(self, members: Sequence[str]) -> dict[str, list[str]]:
        """Seeds of each network, recipe and iteration that has several of these members."""
        return self.members.ensembles(members, self.iterations)

    def reference_settings(self) -> dict[str, Values]:
        """Keys that differ, by name of each reference run; a study begun before keeps its names."""
        runs = reference_runs(self.host)
        begun = (self.folder / path_of(ONLINE_RUN, former.REFERENCE_RUNS[0])).exists()
        names = former.REFERENCE_RUNS if begun else runs
        return {
            name: {**self.references.get(general, {}), **self.references.get(run, {})}
            for name, run, general in zip(names, runs, REFERENCE_RUNS, strict=True)
        }

    @staticmethod
    def _check_names(key: str, given: Mapping[str, Values], members: tuple[str, ...]) -> None:
        for name in given:
            if name not in members:
                raise unknown_name(f"{key} (settings by member)", name, members)
