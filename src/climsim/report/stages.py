"""The stage of the package: the page of a study."""

from __future__ import annotations

from climsim.stage import Stage

REPORT = Stage(
    name="report",
    command="report",
    config="climsim.report.config:ReportConfig",
    run="climsim.report.page:write_report",
    summary="Write the self-contained HTML page.",
    example="offline=runs/offline.nc online=runs/online.nc out=runs/report.html",
    needs=("offline", "online", "hindcasts", "figures", "failures", "damping"),
    makes="out",
)
