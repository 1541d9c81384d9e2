"""Which metrics the interactive page shows, and where it is served."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from climsim.files import require_apart
from climsim.validation import Checks, require

_LARGEST_PORT = 65535
_HOST = re.compile(r"[\w.-]+:\d+")


@dataclass(frozen=True)
class ExploreConfig:
    """Which metrics the page shows, and where it is served.

    Attributes:
        offline: files of offline metrics, one for each member.
        online: file of online metrics.
        port: of the local address; 0 takes a free one.
        browser: whether to open the page in the browser.
        hosts: ``name:port`` beside ``localhost`` that browsers may ask for the page by, as in their
            address bar; any other is refused, so that no foreign site reads the page through a
            name of its own that leads here.
    """

    offline: tuple[Path, ...] = ()
    online: Path | None = None
    port: int = 5006
    browser: bool = True
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check = Checks(self)
        check.some("file of metrics", "offline", "online")
        require_apart({"offline": self.offline})
        check.between(0, _LARGEST_PORT, "port")
        if self.hosts:
            require("port", self.port, self.port > 0, "the number of a port beside hosts")
        for host in self.hosts:
            fits = _HOST.fullmatch(host) is not None
            require("hosts", host, fits, "name:port, such as node:5006")
