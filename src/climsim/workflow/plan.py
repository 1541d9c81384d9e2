"""The jobs of an experiment: which a study has, and how they are written down."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from climsim.cards import flatten, setting
from climsim.configuration import build_config
from climsim.data.stages import PREPARE, STATISTICS
from climsim.data.store.splits import TRAINING_ONLY, WEATHER
from climsim.errors import ClimSimError
from climsim.evaluation.members import values_of
from climsim.evaluation.stages import EVALUATE_HINDCASTS, EVALUATE_OFFLINE, EVALUATE_ONLINE
from climsim.export.stages import EXPORT
from climsim.figures.config import FiguresConfig
from climsim.figures.stages import FIGURES
from climsim.hosts import batch_runner
from climsim.keys import Values
from climsim.online.pairs_config import generated_ends
from climsim.online.stages import COLLECT, GENERATE, ONLINE_RUN
from climsim.plugins import is_reference, reference_file, short_name
from climsim.report.stages import REPORT
from climsim.training.stages import TRAIN
from climsim.workflow import hindcasts
from climsim.workflow.config import ExperimentConfig, Trained
from climsim.workflow.jobs import Job
from climsim.workflow.made_from import digest_of, given_identities
from climsim.workflow.maker import Jobs, refuse_own
from climsim.workflow.order import awaited
from climsim.workflow.steps import (
    ENSEMBLE_STEP,
    FAILURES,
    REFERENCE_STEP,
    RETRAIN_STEP,
    VISITED_STORE_STEP,
    path_of,
)

GENERATED_START = str(generated_ends(Path(path_of(GENERATE)))[0])
_OF_HOST = ("host_options.", "coupler.")
"""Keys of the online runs that say how the host and its coupling are."""


def make_plan(config: ExperimentConfig, jobs: Jobs) -> list[Job]:
    """List every job of a study but the joint ones, which depend on how the others end.

    Args:
        config: the study.
        jobs: makes them.

    Returns:
        The jobs in the order of the chain.

    Raises:
        ClimSimError: for a setting that a stage does not know.
    """
    _check_iterations(config)
    hindcasts.check(config)
    references = [
        _online_job(config, jobs, name, None, given)
        for name, given in config.reference_settings().items()
    ]
    if config.hindcasts.starts:
        references.append(hindcasts.reference_job(config, jobs, online_start(config)))
    return [*_data_jobs(config, jobs), *references, *_member_jobs(config, jobs)]


def joint_jobs(
    jobs: Jobs,
    offline: Sequence[str],
    online: Sequence[str],
    short: Sequence[str] = (),
    failures: bool = False,
) -> list[Job]:
    """List the jobs that bring members together.

    Args:
        jobs: makes them.
        offline: members with offline metrics.
        online: members with an online run; empty where there are none or no reference.
        short: members with hindcasts; empty where there are none or no reference.
        failures: whether the report shows the list of failures.
    """
    ensembles = jobs.config.ensembles(offline)
    files = [path_of(EVALUATE_OFFLINE, member) for member in (*offline, *ensembles)]
    metrics = path_of(EVALUATE_ONLINE) if online else None
    ranked = path_of(EVALUATE_HINDCASTS) if short else None
    shared: Values = {"offline": files, "online": metrics, "hindcasts": ranked}
    made = [_ensemble_job(jobs, name, seeds) for name, seeds in ensembles.items()]
    if online:
        first, second = (path_of(ONLINE_RUN, name) for name in jobs.config.reference_settings())
        runs = [path_of(ONLINE_RUN, member) for member in online]
        compared: Values = {"runs": runs, "reference": first, "second_reference": second}
        made.append(jobs.make(EVALUATE_ONLINE.name, compared))
    if short:
        made.append(hindcasts.evaluation_job(jobs, short))
    made.append(_figures_job(jobs, shared, {*offline, *online, *short}))
    values = {**shared, "figures": path_of(FIGURES), "study": "experiment.json"}
    values["tables"] = "tables"
    if failures:
        values["failures"] = FAILURES
    made.append(jobs.make(REPORT.name, values))
    return made


def _figures_job(jobs: Jobs, values: Values, there: Collection[str]) -> Job:
    """Draw; what only members have that are not there is left out of the filters.

    Args:
        jobs: makes it.
        values: what is drawn.
        there: names of the members with metrics.

    Raises:
        ClimSimError: if a filter names a network, recipe or seed that no member of the study has.
    """
    job, every = jobs.make(FIGURES.name, values), jobs.config.identified
    filters = build_config(FiguresConfig, job.settings or {}).filters
    try:
        filters.require(values_of(every.values()))
    except ClimSimError as error:
        raise ClimSimError(f"stages.{FIGURES.name}: {error}") from error
    left = filters.left(values_of(member for name, member in every.items() if name in there))
    return jobs.make(FIGURES.name, values, special=left) if left else job


def _ensemble_job(jobs: Jobs, name: str, seeds: Sequence[str]) -> Job:
    """Score the mean prediction of some seeds as each of them is scored."""
    first, *others = (jobs.model_of(member) for member in seeds)
    values = {"model": first, "members": others, "store": _store(jobs.config)}
    shared = dict(flatten(jobs.config.stages.get(EVALUATE_OFFLINE.name, {})))
    shared.pop("save_predictions", None)
    return jobs.make(ENSEMBLE_STEP, values, name, shared=shared)


def _data_jobs(config: ExperimentConfig, jobs: Jobs) -> Iterator[Job]:
    source = config.source
    batch = batch_runner(config.host) is not None
    if source.start is not None and batch:
        raise ClimSimError(
            f"source.start: the host {config.host} starts from online.host_options.reference_case, "
            "reference_date and reference_folder: leave it out"
        )
    if _generates(config) and batch:
        raise ClimSimError(
            f"source: the host {config.host} generates no data here: expected source.raw=FOLDER "
            "of step files or source.store=STORE, found neither"
        )
    if _generates(config):
        yield jobs.make(GENERATE.name, {}, shared=config.host_settings)
    noisy = _generates_noise(config)
    if source.store is None:
        period = {"split.training_only": TRAINING_ONLY} if noisy else {}
        yield jobs.make(PREPARE.name, {"raw": str(source.raw or path_of(GENERATE))}, shared=period)
    # Scales are those of the weather: what is far from it has other ones.
    scales = {"split": WEATHER} if noisy else {}
    yield jobs.make(STATISTICS.name, {"store": _store(config)}, shared=scales)


def _generates_noise(config: ExperimentConfig) -> bool:
    """Whether the study generates pairs with noise beside those of the weather."""
    given = flatten(config.stages.get(GENERATE.name, {}))
    return _generates(config) and bool(given.get("noise_stride", 0))


def _generates(config: ExperimentConfig) -> bool:
    """Whether the study makes its own data."""
    return config.source.raw is None and config.source.store is None


def _check_iterations(config: ExperimentConfig) -> None:
    """Refuse iterations whose states no host labels, or that cannot be joined to the weather."""
    iterations = config.iterations
    if iterations and batch_runner(config.host) is not None:
        raise ClimSimError(
            f"iterations={iterations}: the host {config.host} cannot label the states that a model "
            "visits: expected 0 with it"
        )
    if iterations and config.source.store is not None:
        raise ClimSimError(
            f"source.store: iterations={iterations} join visited states to raw step pairs: give "
            "source.raw in its place"
        )


def _store(config: ExperimentConfig) -> str:
    return str(config.source.store or path_of(PREPARE))


def _online_job(
    config: ExperimentConfig, jobs: Jobs, name: str, model: str | None, given: Values
) -> Job:
    values: Values = {"case": name}
    if model:
        values["model"] = model
    if batch_runner(config.host) is not None:
        values["host_options.wait"] = True
    elif start := online_start(config):
        values["start"] = start
    refuse_own("online", flatten(config.online), values)
    rule = ONLINE_RUN.name if model else REFERENCE_STEP
    return jobs.make(rule, values, name, shared=config.online_settings, special=flatten(given))


def online_start(config: ExperimentConfig) -> str | None:
    """Restart file that the online runs of a stepped host start from."""
    if config.source.start is not None:
        return str(config.source.start)
    return GENERATED_START if _generates(config) else None


def _member_jobs(config: ExperimentConfig, jobs: Jobs) -> Iterator[Job]:
    for member in config.members.trained():
        data = {"data.store": _store(config), "data.statistics": path_of(STATISTICS)}
        values = {**data, "seed": member.seed}
        special = _of_member(config, member)
        trained = jobs.make(TRAIN.name, values, member.label, special=special)
        yield trained
        checkpoint = f"{trained.product}/best.ckpt"
        yield from _model_jobs(config, jobs, trained, checkpoint)
        yield from _iteration_jobs(config, jobs, member, checkpoint)
    for name, path in config.members.files().items():
        yield from _scoring_jobs(config, jobs, name, str(path))


def _iteration_jobs(
    config: ExperimentConfig, jobs: Jobs, member: Trained, checkpoint: str
) -> Iterator[Job]:
    """The later iterations of a member: visit states, join them to the weather, train again.

    Args:
        config: the study.
        jobs: makes them.
        member: in its first iteration.
        checkpoint: whose weights the next iteration starts from.
    """
    special, shared = _of_member(config, member), flatten(config.stages.get(TRAIN.name, {}))
    visited: list[str] = []
    for iteration in config.members.iterations_of(member.recipe, config.iterations)[1:]:
        before, now = member.at(iteration - 1), member.at(iteration)
        yield _collect_job(config, jobs, jobs.model_of(before.label), now)
        visited.append(path_of(COLLECT, now.label))
        prepared = _visited_store_job(config, jobs, visited, now)
        yield prepared
        values: Values = {
            "data.store": prepared.product,
            "data.statistics": path_of(STATISTICS),
            "data.foreign_statistics": True,
            "trainer.warm_start": checkpoint,
            "recipe.name": now.recipe_name,
            "seed": member.seed,
        }
        trained = jobs.make(RETRAIN_STEP, values, now.label, shared=shared, special=special)
        yield trained
        # The epoch that is best on weather alone is the one that learnt least of the other states.
        checkpoint = f"{trained.product}/last.ckpt"
        yield from _model_jobs(config, jobs, trained, checkpoint)


def _collect_job(config: ExperimentConfig, jobs: Jobs, model: str, member: Trained) -> Job:
    """States that the model of the iteration before visits, in years of their own."""
    shared = {k: v for k, v in config.online_settings.items() if k.startswith(_OF_HOST)}
    values: Values = {"model": model, "first_year": 1000 * member.iteration + 1}
    if starts := _ends_of_members(config):
        values["starts"] = starts
    shared = {**config.host_settings, **shared}
    return jobs.make(COLLECT.name, values, member.label, shared=shared)


def _ends_of_members(config: ExperimentConfig) -> list[str]:
    """Where each of several generating members ended, such as in its season; none of a single one.

    What one member generates is the weather that the online runs continue, so that its models visit
    states from the host's own start.
    """
    given = flatten(config.stages.get(GENERATE.name, {}))
    members = int(str(given.get("members", 1)))
    if members == 1 or not _generates(config):
        return []
    return [str(path) for path in generated_ends(Path(path_of(GENERATE)), members)]


def _visited_store_job(
    config: ExperimentConfig, jobs: Jobs, visited: Sequence[str], member: Trained
) -> Job:
    """The weather and all states visited so far; validation and test hold the weather alone."""
    values: Values = {
        "raw": str(config.source.raw or path_of(GENERATE)),
        "also": list(visited),
        "split.training_only": TRAINING_ONLY,
    }
    shared = flatten(config.stages.get(PREPARE.name, {}))
    return jobs.make(VISITED_STORE_STEP, values, member.label, shared=shared)


def _model_jobs(
    config: ExperimentConfig, jobs: Jobs, trained: Job, checkpoint: str
) -> Iterator[Job]:
    """What is done with a trained member: the export of one of its checkpoints, and its scores."""
    yield _export_job(jobs, trained, checkpoint)
    yield from _scoring_jobs(config, jobs, trained.member, jobs.model_of(trained.member))


def _of_member(config: ExperimentConfig, member: Trained) -> Values:
    """Settings of `train` that a member's network and recipe ask for, dotted."""
    found: Values = {"network": member.network, "recipe": member.recipe}
    label = short_name(member.network)
    for settings in (config.networks.get(label, {}), config.recipes.get(member.recipe, {})):
        found |= flatten(settings)
    return found


def _export_job(jobs: Jobs, trained: Job, checkpoint: str) -> Job:
    network = str(setting(trained.settings or {}, "network.name"))
    # The study names that code itself, so that its export may run it.
    code = {"code": [str(reference_file(network))]} if is_reference(network) else {}
    return jobs.make(EXPORT.name, {"checkpoint": checkpoint, **code}, trained.member)


def _scoring_jobs(config: ExperimentConfig, jobs: Jobs, member: str, model: str) -> Iterator[Job]:
    """What is done with a model file, whoever trained it."""
    yield jobs.make(EVALUATE_OFFLINE.name, {"model": model, "store": _store(config)}, member)
    yield _online_job(config, jobs, member, model, {})
    if config.hindcasts.starts:
        yield hindcasts.member_job(config, jobs, member, model)


def plan_values(folder: Path, jobs: Sequence[Job]) -> Values:
    """Plain values of the jobs, by name.

    Args:
        folder: of the experiment.
        jobs: all of them.
    """
    after = awaited(folder, jobs)
    products = {job.product or job.output for job in jobs}
    identify = given_identities()
    return {
        job.name: {
            **asdict(job),
            "digest": digest_of(folder, job, products, identify),
            "log": job.log,
            "after": after[job.name],
        }
        for job in jobs
    }
