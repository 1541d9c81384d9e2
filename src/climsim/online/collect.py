"""Step pairs at the states that a model visits, labelled by the host's own physics.

A model trained on full-physics weather alone has never seen the states into which its own errors
lead it. Here the model drives the host, the host's physics says at every kept step what it would
have done, and the pair is ordinary training data (dataset aggregation, Ross et al. 2011,
arXiv 1011.0686). With noise on the kept states the pairs show how perturbations of a profile decay.

The record is made of segments, each from one of the start states. A model that makes the host
unstable ends its segment, and what a killed process had begun is made again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from climsim.data.raw.steps import GRID_FILE, write_grid_info
from climsim.errors import ClimSimError
from climsim.files import file_hash, provenance, read_json, require_there, write_json
from climsim.hosts import build_host
from climsim.hosts.base import SteppedHost, require_methods
from climsim.hosts.members import SeparateMembers
from climsim.locks import LOCK_NAME, only_process
from climsim.online.fitting import open_fitting_model
from climsim.online.pairs import PairFiles
from climsim.online.pairs_config import (
    YEARS_APART,
    CollectConfig,
    damaged_record,
    require_same,
)
from climsim.online.stepper import Stepper, Unstable
from climsim.products import Kind, claim, noted
from climsim.runs.health import HealthReport
from climsim.runs.timing import Stopwatch
from climsim.stage import Progress
from climsim.stepping import steps_asked
from climsim.variables import RAW_PROFILES, SCALARS_IN

__all__ = ["CollectConfig", "collect"]
_log = logging.getLogger(__name__)
_WORK_FOLDER = ".collect"
_RECORD = "record.json"
_TAKEN = frozenset((*RAW_PROFILES, *SCALARS_IN))
"""Fields of the host that a step pair holds."""
COLLECTED = Kind(
    "the folder of collected step pairs",
    lambda path: noted(path / _WORK_FOLDER / _RECORD, "identity", "segments"),
    is_folder=True,
    scaffold=(_WORK_FOLDER,),
)


@dataclass(frozen=True)
class Segment:
    """What became of one segment.

    Attributes:
        year: in the dates of its pairs.
        pairs: written.
        steps: made.
        end: ``complete``, or which bound was left.
    """

    year: int
    pairs: int
    steps: int
    end: str


def collect(
    config: CollectConfig, progress: Progress | None = None, host: SteppedHost | None = None
) -> list[Segment]:
    """Make what segments are missing of a record of visited states.

    Args:
        config: of the record; more segments may be asked for later.
        progress: called with (steps done, steps in all).
        host: one built before, at its start state; None builds it from the configuration.

    Returns:
        What became of each segment.

    Raises:
        ClimSimError: if the folder holds another record, a start or model does not fit the host,
            or not one pair was written.
    """
    inputs: dict[str, Path | None] = {"model": config.model}
    inputs |= {f"starts[{i}]": path for i, path in enumerate(config.starts)}
    claim(config.raw, COLLECTED, inputs, key="raw")
    lock = config.raw / LOCK_NAME
    with only_process(lock, f"{config.raw}: another process collects these step pairs"):
        return _collect(config, progress, host)


def _collect(
    config: CollectConfig, progress: Progress | None, host: SteppedHost | None
) -> list[Segment]:
    """Make what is missing of a record that no other process makes."""
    segments = _previous(config)
    if len(segments) >= config.segments:
        _log.info("%s: nothing to do: %d segments are there", config.raw, len(segments))
        return segments
    mixing = config.coupler.statistics_file
    files = {"model": config.model, "starts": config.starts, "coupler.mixing_statistics": mixing}
    require_there(files)
    host = build_host(config.host, config.host_options) if host is None else host
    with TemporaryDirectory(prefix="climsim-") as folder:
        _Collection(config, host, Path(folder), progress).extend(segments)
    if not any(segment.pairs for segment in segments):
        raise ClimSimError(
            f"{config.raw}: not one state of {len(segments)} segments lay within its bounds "
            f"(last: {segments[-1].end}): start from other states or take another model"
        )
    return segments


class _Collection:
    """Writes the segments of a record.

    Args:
        config: of the record.
        host: the climate model, at its start state.
        scratch: folder for restart files that are needed no longer than the process lives.
        progress: called with (steps done, steps in all).
    """

    def __init__(
        self, config: CollectConfig, host: SteppedHost, scratch: Path, progress: Progress | None
    ) -> None:
        require_methods(host, ("physics", "perturb"), "its step pairs")
        self.config, self.host, self._scratch = config, host, scratch
        self.progress = progress
        self._pairs = PairFiles.of(host, (config.raw,), self.source)
        model = open_fitting_model(config, host, _TAKEN, "its step pairs")
        self.stepper = Stepper(SeparateMembers([host]), model, config.coupler, Stopwatch())
        self.steps = steps_asked(config.days, host.dt)
        self.starts = config.starts
        if not self.starts:
            self.starts = (scratch / "start",)
            host.save(self.starts[0])
        self._random = np.random.default_rng()

    def extend(self, segments: list[Segment]) -> None:
        """Add the segments that are missing; the record is whole after each."""
        config = self.config
        # A start that does not fit is refused before there is a file.
        self.host.restore(self._start_of(len(segments)))
        record = _Record.begin(config)
        record.write(segments)
        write_grid_info(config.raw / GRID_FILE, self.host.grid, self.host.source)
        while len(segments) < config.segments:
            segments.append(self._segment(len(segments)))
            record.write(segments)
            _log.info("segment %d: %s", len(segments), segments[-1])

    def _segment(self, index: int) -> Segment:
        config, host = self.config, self.host
        self._random = np.random.default_rng((config.seed, index))
        host.restore(self._start_of(index))
        host.perturb(int(self._random.integers(2**31)), config.start_amplitude)
        self.stepper.forget()
        first, year, pairs = host.date.year, config.first_year + YEARS_APART * index, 0
        for step in range(self.steps):
            trouble = host.health()
            if trouble is None and step % config.stride == 0:
                label = self.config.amplitudes.physics(host, self._random, self._scratch)
                date = label.date.replace(year=year + label.date.year - first)
                self._pairs.write(label, (date,))
                pairs += 1
            trouble = self._advance(step) if trouble is None else trouble
            if self.progress is not None:
                self.progress(index * self.steps + step + 1, config.segments * self.steps)
            if trouble is not None:
                return Segment(year, pairs, step, f"unstable: {trouble}")
        return Segment(year, pairs, self.steps, "complete")

    def _start_of(self, index: int) -> Path:
        return self.starts[index % len(self.starts)]

    def _advance(self, step: int) -> HealthReport | None:
        """Make a step; the value of the model that is no number, if there is one."""
        by_physics = bool(self._random.random() < self.config.physics_share)
        try:
            self.stepper.step(step, by_physics=by_physics)
        except Unstable as error:
            return error.trouble
        return None

    @property
    def source(self) -> str:
        """What the files of the pairs say of their origin."""
        by = "its own physics" if self.config.model is None else f"model {self.config.model.name}"
        amplitudes = self.config.amplitudes
        noise = f", {amplitudes}" if amplitudes else ""
        return f"{self.host.source}; states visited by {by}{noise}, labelled by its own physics"


def _previous(config: CollectConfig) -> list[Segment]:
    path = config.raw / _WORK_FOLDER / _RECORD
    if not path.exists():
        return []
    record = read_json(path)
    try:
        identity = dict(record["identity"])
        segments = [Segment(**values) for values in record["segments"]]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged_record(path, error) from error
    require_same(config.raw, identity, config.identity())
    return segments


@dataclass(frozen=True)
class _Record:
    """What a record says of its making, as it was when this process began.

    Attributes:
        path: of the record.
        identity: what has to stay the same for it to grow.
        hashes: of the start files and the model.
    """

    path: Path
    identity: Mapping[str, object]
    hashes: Mapping[str, str]

    @classmethod
    def begin(cls, config: CollectConfig) -> _Record:
        """Look at the files before the host is stepped: they may be others at the end."""
        files = (*config.starts, *(() if config.model is None else (config.model,)))
        hashes = {str(path): file_hash(path) for path in files}
        return cls(config.raw / _WORK_FOLDER / _RECORD, config.identity(), hashes)

    def write(self, segments: list[Segment]) -> None:
        """Write it with what became of each segment."""
        about = {"identity": self.identity, "segments": [asdict(segment) for segment in segments]}
        write_json(self.path, {**about, **provenance(self.identity, self.hashes)})
