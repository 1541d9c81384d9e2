"""What the page of a study is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from climsim.files import require_apart
from climsim.validation import Checks


@dataclass(frozen=True)
class ReportConfig:
    """What the page is made of.

    Attributes:
        out: HTML file to write.
        offline: files of offline metrics, one for each member.
        online: file of online metrics.
        hindcasts: file of the metrics of hindcasts, for a ranking; or None.
        figures: folder that `draw_figures` filled; None draws them for the page alone.
        title: heading of the page.
        study: JSON file with the configuration of the study, to be shown; or None.
        failures: JSON file that lists what failed in the experiment, to be shown; or None.
        tables: folder for the tables of members and runs as CSV files; or None.
        damping: file of `climsim evaluate damping` with the members' models, named
            ``network-recipe-seed.pt``, for a column of the table of members; or None.
    """

    out: Path
    offline: tuple[Path, ...] = ()
    online: Path | None = None
    hindcasts: Path | None = None
    figures: Path | None = None
    title: str = "Neural emulators of atmospheric physics, offline and online"
    study: Path | None = None
    failures: Path | None = None
    tables: Path | None = None
    damping: Path | None = None

    def __post_init__(self) -> None:
        Checks(self).some("file of metrics", "offline", "online", "hindcasts")
        require_apart({"offline": self.offline})

    @property
    def metrics(self) -> list[Path]:
        """All files of metrics."""
        coupled = (self.online, self.hindcasts)
        return [*self.offline, *(path for path in coupled if path is not None)]
