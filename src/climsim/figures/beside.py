"""A coupled run beside its reference, mean by mean, read from the history files of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from climsim.arrays import Array, Fields
from climsim.constants import SECONDS_PER_DAY
from climsim.errors import ClimSimError
from climsim.evaluation.derived import with_sums
from climsim.evaluation.history import RunHistory
from climsim.evaluation.metrics import weighted_mean
from climsim.evaluation.online import check_grid
from climsim.evaluation.online_run import FIELDS, mass_weights, series_fields
from climsim.evaluation.regions import band_members, zonal_mean
from climsim.figures.config import MAP, SECTION
from climsim.grid import ColumnGrid


@dataclass(frozen=True)
class View:
    """What of a field is looked at.

    Attributes:
        kind: one of `KINDS`: the mean over a band of latitude by level, zonal means, or columns
            (means over the layer mass of a field with levels).
        field: by its name in history files, or a quantity of the regional series.
        latitudes: southern and northern end of the band [degrees north].
    """

    kind: str
    field: str
    latitudes: tuple[float, float]

    def of(self, fields: Fields, grid: ColumnGrid) -> Array | None:
        """The view of one mean: (level,), (level, latitude) or (column,); None without the field.

        Raises:
            ClimSimError: if a field without levels is to be seen by level.
        """
        fields = with_sums(fields)
        known = series_fields(fields, grid) | fields
        if self.field not in known:
            return None
        values = known[self.field]
        if self.kind == MAP:
            weights = None if values.ndim == 1 else mass_weights(grid, fields["PS"]) / grid.area
            return values if weights is None else (values * weights).sum(0) / weights.sum(0)
        if values.ndim == 1:
            raise ClimSimError(
                f"field: {self.field} has no levels, expected one that has for kind={self.kind}: "
                f"give another field or kind={MAP}"
            )
        if self.kind == SECTION:
            return zonal_mean(values, grid.lat, grid.area)
        inside = band_members(grid.lat, {"band": self.latitudes})[0]
        return weighted_mean(values, inside * grid.area)


@dataclass(frozen=True)
class Beside:
    """A view of a run and of its reference over the periods that both have.

    Attributes:
        days: (time,) end of each period since the start of the reference [days].
        run: (time, ...) of the run.
        reference: (time, ...) of the reference.
        grid: columns and levels.
        land: (column,) land fraction; None where the reference holds none.
    """

    days: Array
    run: Array
    reference: Array
    grid: ColumnGrid
    land: Array | None


def read_beside(
    run: RunHistory, reference: RunHistory, stream: str, days: float, view: View
) -> Beside:
    """Read a view of the first days of a run and of its reference.

    Args:
        run: the coupled run.
        reference: the run with full physics.
        stream: ``h0``, ``h1`` or ``h2``.
        days: since the start of the reference; later periods are left out.
        view: what is looked at.

    Raises:
        ClimSimError: if both lie on different grids, or share no period that holds the field.
    """
    check_grid(run, reference)
    ends, pairs, land = [], [], None
    for period in reference.periods(stream):
        end = (period[1] - reference.start) / SECONDS_PER_DAY
        if end > days or period not in run.periods(stream):
            continue
        fields = [history.read(stream, period, FIELDS) for history in (run, reference)]
        seen = [None if mean is None else view.of(mean, reference.grid) for mean in fields]
        if seen[0] is not None and seen[1] is not None:
            ends.append(end)
            pairs.append(seen)
            land = (fields[1] or {}).get("LANDFRAC", land)
    if not ends:
        raise ClimSimError(
            f"{run.folder}: expected means of stream {stream} with {view.field} over the first "
            f"{days:g} days of {reference.folder}, found none: give another stream, field or days"
        )
    values = np.array(pairs, dtype=float)
    return Beside(np.array(ends), values[:, 0], values[:, 1], reference.grid, land)
