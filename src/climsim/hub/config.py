"""What is exchanged with the Hugging Face Hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from climsim.data.raw.config import check_repository
from climsim.validation import Checks, require

KINDS = {"model": "model", "store": "dataset"}
"""Kinds of what is pulled, each with the kind of its repository."""


@dataclass(frozen=True)
class PushConfig:
    """What is uploaded, and where to.

    Attributes:
        path: exported model, or folder of a prepared store.
        repo: repository on the Hub, such as ``me/unet``; it is made where there is none.
        offline: offline metrics of the model, for its card; None for a card without scores.
        figures: folder of figures (PNG) for the card of a model; None for none.
        license: identifier of the licence, such as ``apache-2.0`` or ``cc-by-4.0``.
        private: whether a repository that is made is private.
        revision: branch that is written; it is made where there is none.
        endpoint: address of the Hub; empty for the public one.
    """

    path: Path
    repo: str
    license: str
    offline: Path | None = None
    figures: Path | None = None
    private: bool = True
    revision: str = "main"
    endpoint: str = ""

    def __post_init__(self) -> None:
        check_repository(self.repo, self.endpoint)
        require("license", self.license, bool(self.license.strip()), "such as cc-by-4.0")


@dataclass(frozen=True)
class PullConfig:
    """What is downloaded, and where to.

    Attributes:
        repo: repository on the Hub, such as ``me/unet``.
        out: folder for the model, its card and its figures; or the store.
        kind: ``model`` or ``store``.
        revision: branch, tag or commit.
        endpoint: address of the Hub; empty for the public one.
        workers: downloads at the same time.
    """

    repo: str
    out: Path
    kind: str = "model"
    revision: str = "main"
    endpoint: str = ""
    workers: int = 4

    def __post_init__(self) -> None:
        check_repository(self.repo, self.endpoint)
        check = Checks(self)
        check.one_of(tuple(KINDS), "kind")
        check.whole("workers", least=1)
