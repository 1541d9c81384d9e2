"""What is drawn from which files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from climsim.data.store.address import StoreAddress
from climsim.data.store.splits import SPLITS
from climsim.files import require_apart
from climsim.hosts.gcm.config import GCM
from climsim.runs.streams import STREAMS
from climsim.validation import Checks, different, one_of, require

if TYPE_CHECKING:
    from climsim.results.filters import Filters

FORMATS: Final = ("png", "pdf")
BOTH: Final = "both"
TIME_HEIGHT, SECTION, MAP = "time_height", "section", "map"
KINDS: Final = (TIME_HEIGHT, SECTION, MAP)
"""Kinds of pictures of a run beside its reference."""


@dataclass(frozen=True)
class FiguresConfig:
    """Which metrics are drawn, and where to.

    Attributes:
        out: folder of the figures.
        offline: files of offline metrics, one for each member.
        online: file of online metrics.
        hindcasts: file of the metrics of hindcasts.
        external_r2: CSV files of other studies' offline R2, with the columns ``output, level, r2``;
            grey lines beside those of the members.
        only: names of the figures to draw, or ``path/to/file.py:FIGURE``; empty for all.
        formats: ``png``, ``pdf`` or both.
        dpi: resolution of the PNG files [pixels per inch]; a page of text is about 7 inches wide.
        networks: networks that are drawn; empty for all.
        recipes: recipes that are drawn; empty for all.
        seeds: seeds that are drawn; empty for all.
        years: first years of the coupled runs that are drawn; 0 for all. The online metrics must
            hold time means over as many years.
        compare: ``networks`` (a figure or panel for each recipe), ``recipes`` (one for each
            network), or ``both``: networks, then recipes in the figures of coupled runs.
        seed_lines: whether a line is drawn for each seed instead of one for all with their range.
        workers: processes that draw; 0 for one per core.
    """

    out: Path
    offline: tuple[Path, ...] = ()
    online: Path | None = None
    hindcasts: Path | None = None
    external_r2: tuple[Path, ...] = ()
    only: tuple[str, ...] = ()
    formats: tuple[str, ...] = FORMATS
    dpi: int = 200
    networks: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    years: int = 0
    compare: str = BOTH
    seed_lines: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        check = Checks(self)
        check.some("file of metrics", "offline", "online", "hindcasts")
        require_apart({"offline": self.offline})
        require_apart({"external_r2": self.external_r2})
        holds = bool(self.formats) and set(self.formats) <= set(FORMATS)
        require("formats", list(self.formats), holds, "png, pdf or both")
        different("formats", self.formats)
        check.whole("dpi", least=1)
        check.whole("workers")
        one_of("compare", self.compare, ("networks", "recipes", BOTH))
        # Here, not above: figures load matplotlib, and help on the keys does without.
        from climsim.figures.registry import figure_table

        _ = self.filters
        figure_table(self.only)

    @property
    def filters(self) -> Filters:
        """Which part of the study is drawn."""
        from climsim.results.filters import Filters

        return Filters(self.networks, self.recipes, self.seeds, self.years)


@dataclass(frozen=True)
class ShowConfig:
    """Which run is shown beside which reference, and how.

    Attributes:
        run: folder of a coupled run.
        reference: folder of the run with full physics.
        out: ``.png`` of the time-height bias, ``.gif`` of a section or map.
        kind: ``time_height`` (bias over a band of latitude by day and level), ``section`` (zonal
            means, moving) or ``map`` (moving; fields with levels as mean over layer mass).
        field: by its name in history files, such as ``T`` or ``PRECT``.
        stream: history stream whose means are shown: ``h0``, ``h1`` or ``h2``.
        days: first days that are shown.
        latitudes: southern and northern end of the band [degrees north].
        rate: means a second of an animation.
        dpi: resolution [pixels per inch].
    """

    run: Path
    reference: Path
    out: Path
    kind: str = TIME_HEIGHT
    field: str = "T"
    stream: str = "h1"
    days: float = 31.0
    latitudes: tuple[float, float] = (-90.0, 90.0)
    rate: float = 4.0
    dpi: int = 120

    def __post_init__(self) -> None:
        require_apart(
            {"run": self.run, "reference": self.reference},
            "a run has no bias against itself: give the run with full physics",
        )
        check = Checks(self)
        check.one_of(KINDS, "kind")
        check.one_of(tuple(STREAMS), "stream")
        check.positive("days", "rate")
        check.whole("dpi", least=1)
        band = tuple(self.latitudes)
        holds = len(band) == 2 and -90 <= band[0] < band[1] <= 90
        require("latitudes", list(band), holds, "southern and northern end, such as [-30,30]")
        ending = ".png" if self.kind == TIME_HEIGHT else ".gif"
        require("out", str(self.out), self.out.suffix == ending, f"a name ending in {ending}")


@dataclass(frozen=True)
class DescribeConfig:
    """What to look at.

    Attributes:
        store: prepared store: a folder, or a URL that fsspec reads.
        out: folder for ``table.txt``, ``profiles.png``, ``maps.png``, ``clouds.png`` (phases by
            temperature, cloud tops by tropopause), ``water.png`` (column water residual without and
            with evaporation) and ``index.json``.
        split: split to look at.
        steps: time steps looked at, spread evenly over the split.
        statistics: statistics of the store and split, for numbers over every step; empty to take
            the steps looked at. Maps always show those.
        reference: CSV of a reference model's statistics per variable and level (columns
            ``variable, level, mean, std, median, decile10, decile90``); empty for none.
    """

    store: StoreAddress
    out: Path
    split: str = "train"
    steps: int = 48
    statistics: str | Path = ""
    reference: str | Path = ""

    def __post_init__(self) -> None:
        check = Checks(self)
        check.one_of(SPLITS, "split")
        check.whole("steps", least=1)


@dataclass(frozen=True)
class ClimateConfig:
    """Which climate is measured for how long.

    Attributes:
        out: folder of the table (`climate.md`), the means (`means.npz`) and the figure.
        days: simulated days.
        reference: CSV with `file, variable, level, mean, std` of E3SM-MMF, see
            docs/embedded_model.md; None leaves the comparison out.
        gate: end with an error unless every aim is met.
        host: name of the host; only the embedded model is measured.
        host_options: settings of the host, by key.
        checkpoint_days: simulated days between states that a killed run continues from.
    """

    out: Path
    days: int = 365
    reference: Path | None = None
    gate: bool = False
    host: str = GCM
    host_options: dict[str, object] = field(default_factory=dict)
    checkpoint_days: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out))
        if self.reference is not None:
            object.__setattr__(self, "reference", Path(self.reference))
        check = Checks(self)
        check.one_of((GCM,), "host")
        check.whole("days", "checkpoint_days", least=1)
