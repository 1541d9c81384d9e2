"""Start or continue an experiment: compose its configuration, hand it to Snakemake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path

from climsim import interrupts
from climsim.configuration import build_config, compose_config
from climsim.errors import ClimSimError
from climsim.evaluation.stages import EVALUATE_OFFLINE
from climsim.export.stages import EXPORT
from climsim.files import remove, write_json
from climsim.hosts import batch_runner
from climsim.keys import Values
from climsim.locks import LOCK_NAME, LockedError, hold
from climsim.online.stages import ONLINE_RUN
from climsim.products import Kind, claim
from climsim.report.failures import Failure
from climsim.schema import EXPERIMENT
from climsim.validation import one_of
from climsim.workflow import engine, former, watch
from climsim.workflow.agreement import check_agreement
from climsim.workflow.config import ExperimentConfig
from climsim.workflow.failures import failed_jobs, find_failures, write_failures
from climsim.workflow.job import stopping
from climsim.workflow.jobs import PLAN, Job, is_experiment, read_jobs
from climsim.workflow.logs import last_line
from climsim.workflow.maker import Jobs, override_texts
from climsim.workflow.order import out_of_reach
from climsim.workflow.plan import joint_jobs, make_plan, plan_values
from climsim.workflow.slurm import PROFILE, write_profile
from climsim.workflow.steps import HINDCAST_STEP, JOINT, REFERENCE_STEP, STEPS, Step

LOG = "logs/snakemake.log"
_CALL = re.compile(r"climsim\.workflow\.job (\S+) --python")
"""The call of a job among what Snakemake prints."""
_ERROR = re.compile(r"Error in rule|\w+(Error|Exception)\b")
"""How a line of Snakemake's begins that says what is wrong; the next one says more."""
_PATIENCE = 3.0
"""Time that the processes of a killed call have to go [s]."""
_FOLDER = Kind(
    "the folder of an experiment",
    is_experiment,
    is_folder=True,
    scaffold=("logs", "experiment.json"),
)


def run_experiment(
    name: str,
    overrides: Sequence[str] = (),
    *,
    dry_run: bool = False,
    until: str | None = None,
    slurm: bool = False,
    config_dir: str | None = None,
) -> Path | None:
    """Run what is missing or out of date of a study.

    Members that fail stop nothing but themselves: the joint stages take the others, and
    ``failures.json`` lists the failed ones.

    Args:
        name: a configuration of the group ``experiment``, such as ``"demo"``.
        overrides: further ``key=value`` overrides of that configuration.
        dry_run: only list what would run.
        until: name of the last rule to run.
        slurm: send the jobs to SLURM instead of running them here.
        config_dir: folder of further configuration.

    Returns:
        Path of the report, or None for a dry run or with ``until``.

    Raises:
        ClimSimError: if another process runs the same experiment, or a stage fails.
    """
    config = experiment_config(name, overrides, config_dir)
    if until is not None:
        one_of("--until", until, STEPS, former.RULES)
    folder = config.folder.resolve()
    claim(folder, _FOLDER, key="folder")
    experiment = Experiment(config, folder, config_dir, slurm)
    if dry_run:
        experiment.dry_run(until)
        return None
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    try:
        with hold(folder / LOCK_NAME, _PATIENCE) as lock:
            _adopt_former_names(folder)
            _forget_lost_products(folder)
            return experiment.run(until, lock)
    except LockedError as error:
        raise ClimSimError(
            f"{folder}: another process runs this experiment: wait for it or stop it"
        ) from error


def draw_experiment(
    name: str, overrides: Sequence[str], path: Path, *, config_dir: str | None = None
) -> Path:
    """Draw the graph of a study's stages.

    Args:
        name: a configuration of the group ``experiment``.
        overrides: further ``key=value`` overrides of that configuration.
        path: SVG, PNG or PDF file to write.
        config_dir: folder of further configuration.

    Returns:
        The path.

    Raises:
        ClimSimError: for a setting or a kind of file that does not fit.
    """
    from climsim.workflow.graph import check_format, save_graph

    check_format(path)
    config = experiment_config(name, overrides, config_dir)
    experiment = Experiment(config, config.folder.resolve(), config_dir, slurm=False)
    members = len(config.member_names)
    return save_graph(
        experiment.folder, experiment.all_jobs(), f"{config.name}: {members} members", path
    )


def experiment_config(
    name: str, overrides: Sequence[str] = (), config_dir: str | None = None
) -> ExperimentConfig:
    """Compose and check the configuration of a study.

    Raises:
        ClimSimError: for an unknown study or key, or a value that does not fit.
    """
    return build_config(ExperimentConfig, study_values(name, overrides, config_dir))


def study_values(name: str, overrides: Sequence[str] = (), config_dir: str | None = None) -> Values:
    """Compose the configuration of a study, as plain values.

    Raises:
        ClimSimError: for an unknown study or key.
    """
    former.check_settings(word.partition("=")[0].lstrip("+~") for word in overrides)
    given = [f"experiment={name}", *overrides]
    return compose_config(EXPERIMENT, given, config_dir)


def stage_interpreter() -> str:
    """The interpreter that runs the stages: the present one."""
    return sys.executable


class Experiment:
    """One experiment in its folder, on this machine or a cluster."""

    def __init__(
        self, config: ExperimentConfig, folder: Path, config_dir: str | None, slurm: bool
    ) -> None:
        self.config, self.folder, self.slurm = config, folder, slurm
        self._make = Jobs(config, config_dir)
        self.jobs = make_plan(config, self._make)
        self.members = config.member_names
        check_agreement(self.all_jobs(), folder)
        self.cores = config.cores or os.cpu_count() or 1

    def dry_run(self, until: str | None) -> None:
        """Print the jobs that would run and their number; nothing is left behind."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = self.folder if self.folder.exists() else Path(temporary)
            _forget_lost_products(folder)
            plan = Path(temporary) / PLAN
            jobs = self.all_jobs()
            write_json(plan, self._plan(jobs, self.members))
            command = [*_snakemake_command(folder, plan, until), "--cores", str(self.cores)]
            done = self._ask([*command, "--dry-run", "--printshellcmds"])
        names_of = {job.output: job.name for job in jobs}
        called = dict.fromkeys(_CALL.findall(f"{done.stdout}\n{done.stderr}"))
        names = [names_of[output] for output in called]
        total = f"{len(names)} job{'' if len(names) == 1 else 's'} to run"
        sys.stdout.write("\n".join([*names, total if names else "nothing to do"]) + "\n")

    def run(self, until: str | None, lock: int) -> Path | None:
        """Run every job; then the joint ones over the members that did not fail.

        Raises:
            ClimSimError: if anything failed, once all that could run has run.
        """
        self._write_plan(self.members, self.members, self.members, ())
        remove(self.folder / LOG)
        code, written = self._snakemake(until, lock)
        failures = find_failures(self.folder, self.jobs, written)
        write_failures(self.folder, failures)
        if code == 0:
            return None if until else self.folder / "report.html"
        if not failures:
            raise self._stopped(written)
        if until is None or until in JOINT:
            self._join(until, lock, failures)
        raise self._failed(failures, until)

    def _join(self, until: str | None, lock: int, failures: Sequence[Failure]) -> None:
        """Run the joint stages over the members that got there."""
        lost = out_of_reach(self.folder, self.jobs, failed_jobs(self.jobs, failures))
        made = [job for job in self.jobs if job.name not in lost]
        offline = [job.member for job in made if job.rule == EVALUATE_OFFLINE.name]
        online = [job.member for job in made if job.rule == ONLINE_RUN.name]
        if sum(job.rule == REFERENCE_STEP for job in made) < len(self.config.reference_settings()):
            online = []
        hindcasts = [job.member for job in made if job.rule == HINDCAST_STEP]
        if not offline:
            return
        self._write_plan(offline, online, hindcasts, failures)
        code, written = self._snakemake(until, lock)
        if code != 0:
            raise self._stopped(written)

    def _write_plan(
        self,
        offline: Sequence[str],
        online: Sequence[str],
        hindcasts: Sequence[str],
        failures: Sequence[Failure],
    ) -> None:
        jobs = self.all_jobs(offline, online, hindcasts, bool(failures))
        write_json(self.folder / "experiment.json", _summary(self.config))
        write_json(self.folder / PLAN, self._plan(jobs, offline, bool(failures)))
        if self.slurm:
            write_profile(self.folder, self.config.slurm)

    def all_jobs(
        self,
        offline: Sequence[str] | None = None,
        online: Sequence[str] | None = None,
        hindcasts: Sequence[str] | None = None,
        failures: bool = False,
    ) -> list[Job]:
        """Every job, the joint ones over these members; over all where none are given."""
        offline = self.members if offline is None else offline
        online = self.members if online is None else online
        short = self.members if hindcasts is None else hindcasts
        short = short if self.config.hindcasts.starts else ()
        return [*self.jobs, *joint_jobs(self._make, offline, online, short, failures)]

    def _plan(
        self,
        jobs: Sequence[Job],
        offline: Sequence[str],
        failures: bool = False,
    ) -> Values:
        """What Snakemake reads: jobs, the rules that they belong to, and the files to make."""
        config = self.config
        rules = {job.rule: STEPS[job.rule] for job in jobs}
        wanted = {
            EXPORT.name: offline if failures else self.members,
            EVALUATE_OFFLINE.name: offline,
        }
        targets = [j for j in jobs if j.rule in JOINT or j.member in wanted.get(j.rule, ())]
        return {
            "name": config.name,
            "runner": sys.executable,
            "python": stage_interpreter(),
            "cores": self.cores,
            "cores_per_member": config.cores_per_member,
            "waiting": [rule for rule, step in rules.items() if self._waits(step)],
            "members": self.members,
            "targets": [job.output for job in targets],
            "rules": {
                rule: {
                    "output": step.output.replace("{ending}", self._make.ending),
                    "members": [job.member for job in jobs if job.rule == rule and job.member],
                    "threads": self._threads(step),
                    "priority": step.priority,
                }
                for rule, step in rules.items()
            },
            "jobs": plan_values(self.folder, jobs),
        }

    def _waits(self, step: Step) -> bool:
        """Whether jobs of a step only wait for those that a climate model's scripts submit."""
        return step.stage is ONLINE_RUN and batch_runner(self.config.host) is not None

    def _threads(self, step: Step) -> int:
        if self._waits(step):
            return 1
        return (step.of_members and self.config.cores_per_member) or self.cores

    def _command(self, until: str | None) -> list[str]:
        where = ["--cores", str(self.cores)]
        if self.slurm:
            # Rules that stay here only wait.
            waiting = len(self.members) + 2
            where = ["--profile", str(self.folder / PROFILE), "--local-cores", str(waiting)]
        elif batch_runner(self.config.host) is not None:
            where = ["--cores", str(max(self.cores, len(self.members) + 2))]
        return [*_snakemake_command(self.folder, self.folder / PLAN, until), *where]

    def _ask(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Let Snakemake say something of the plan without running it."""
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            written = f"{done.stdout}\n{done.stderr}"
            raise ClimSimError(f"experiment {self.config.name!r}: {_snakemake_error(written)}")
        return done

    def _snakemake(self, until: str | None, lock: int) -> tuple[int, str]:
        """Run Snakemake, watched; return its exit code and what it wrote, also in a log."""
        with (self.folder / LOG).open("a+") as log:
            start = log.tell()
            process = subprocess.Popen(
                self._command(until), stdout=log, stderr=subprocess.STDOUT, pass_fds=(lock,)
            )
            try:
                code = watch.follow(self.folder, process)
            except KeyboardInterrupt:
                with stopping(self.folder):
                    interrupts.stop(process, engine.STOP)
                raise
            log.seek(start)
            written = log.read()
        if code < 0 or code == 130:
            raise KeyboardInterrupt
        return code, written

    def _failed(self, failures: Sequence[Failure], until: str | None) -> ClimSimError:
        first = failures[0]
        others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        report = self.folder / "report.html"
        kept = f"; {report} shows the others" if not until and report.exists() else ""
        return ClimSimError(
            f"experiment {self.config.name!r}: a stage failed: {first.stage} of {first.member} "
            f"({first.message}){others}: see {self.folder / first.log} and failures.json, fix it "
            f"and run the same command again{kept}; what is complete is kept"
        )

    def _stopped(self, written: str) -> ClimSimError:
        return ClimSimError(
            f"experiment {self.config.name!r}: {_snakemake_error(written)}: see {self.folder / LOG}"
        )


def _snakemake_command(folder: Path, plan: Path, until: str | None) -> list[str]:
    return [
        *(sys.executable, "-m", "climsim.workflow.engine"),
        *("--snakefile", str(resources.files("climsim.workflow") / "Snakefile")),
        *("--directory", str(folder)),
        *("--configfile", str(plan)),
        # The experiment holds its own lock, which unlike Snakemake's does not outlive a kill.
        *("--nolock", "--rerun-incomplete", "--keep-going"),
        *("--rerun-triggers", "mtime", "params"),
        *(("--until", until) if until else ()),
    ]


def _summary(config: ExperimentConfig) -> Values:
    """What the report shows of a study."""
    members = config.members
    source = {k: str(v) for k, v in vars(config.source).items() if v is not None}
    return {
        "name": config.name,
        "host": config.host,
        "source": source or "generated by the embedded model",
        "members": {
            "networks": list(members.labels()),
            "recipes": list(members.recipes),
            "seeds": list(members.seeds),
            "without": list(members.without),
            "models": [str(path) for path in members.models],
        },
        "online": override_texts(config.online),
        "iterations": config.iterations,
        "hindcasts": asdict(config.hindcasts),
        "stages": {name: override_texts(values) for name, values in config.stages.items()},
        "networks": {name: override_texts(values) for name, values in config.networks.items()},
        "recipes": {name: override_texts(values) for name, values in config.recipes.items()},
    }


def _adopt_former_names(folder: Path) -> None:
    """Give the logs of a study that was begun under former names of its steps the present ones."""
    for job in read_jobs(folder) if (folder / PLAN).is_file() else ():
        former.adopt_files(folder / "logs", job.name, job.rule, job.member)


def _forget_lost_products(folder: Path) -> None:
    """Remove the completion marks of products that somebody deleted."""
    for flag in folder.glob("flags/*.done"):
        product = flag.read_text().strip()
        if not product or not (folder / product).exists():
            remove(flag)


def _snakemake_error(text: str) -> str:
    """The line of Snakemake's output that says what is wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if _ERROR.match(line):
            return " ".join(lines[number : number + 2])
    return last_line(text) or "Snakemake stopped without an error message"
