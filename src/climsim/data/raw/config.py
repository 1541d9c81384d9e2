"""Which raw files are downloaded, and which are checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from climsim.validation import Checks, different, refused, require

MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


def check_repository(repo: str, endpoint: str) -> None:
    """Refuse what cannot be a repository on the Hub, or the address of one.

    Args:
        repo: such as ``me/unet``.
        endpoint: address of the Hub; empty for the public one.

    Raises:
        ClimSimError: saying what was expected.
    """
    # Here, not above: configurations are made without the client of the Hub.
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError:
        named = False
    else:
        named = "/" in repo
    form = "owner/name, of letters, digits, - _ . without -- and .."
    require("repo", repo, named, form)
    is_address = not endpoint or endpoint.startswith(("http://", "https://"))
    require("endpoint", endpoint, is_address, "an address that starts with https:// or http://")


@dataclass(frozen=True)
class DownloadConfig:
    """What to download.

    Attributes:
        folder: where to; files lie below as in the data set (``train/0001-02/...``).
        repo: data set on the Hub, such as ``LEAP/ClimSim_low-res``.
        months: months such as ``0001-02``; empty for all.
        stride: every n-th step is taken, n being this number, counted from the beginning of the
            calendar; previous-step features need neighbouring steps, that is 1.
        inside: folder of the data set that holds the months; empty for its root.
        revision: branch, tag or commit.
        endpoint: address of the Hub; empty for the public one.
        dry_run: whether only to say what would be downloaded.
        workers: downloads at the same time.
    """

    folder: Path
    repo: str = "LEAP/ClimSim_low-res"
    months: tuple[str, ...] = ()
    stride: int = 1
    inside: str = "train"
    revision: str = "main"
    endpoint: str = ""
    dry_run: bool = False
    workers: int = 4

    def __post_init__(self) -> None:
        check_repository(self.repo, self.endpoint)
        for month in self.months:
            if not MONTH.fullmatch(month):
                raise refused("months", "months such as 0001-02", month)
        different("months", self.months)
        Checks(self).whole("stride", "workers", least=1)


@dataclass(frozen=True)
class CheckConfig:
    """What to check.

    Attributes:
        raw: folder with the raw step pairs.
        grid: grid file, for sizes and pressure; empty for the one in the raw folder, if there is
            one.
        outputs: folder with the output files where they are not in ``raw``; empty otherwise.
        stride: distance of the steps that should be there, in time steps of the model.
        time_step: physics time step of the model that wrote the data [s]; 0 for the one that the
            files declare, or else that follows from their spacing.
        out: JSON file for the report; empty for none.
        workers: processes; 0 for one per core.
    """

    raw: Path
    grid: str | Path = ""
    outputs: str | Path = ""
    stride: int = 1
    time_step: int = 0
    out: str | Path = ""
    workers: int = 0

    def __post_init__(self) -> None:
        check = Checks(self)
        check.whole("stride", least=1)
        check.whole("time_step", "workers")
