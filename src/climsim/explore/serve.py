"""Serving the interactive page on this machine."""

from __future__ import annotations

import importlib.util
import logging
import re
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from climsim.errors import ClimSimError, missing_extra
from climsim.results.study import Study
from climsim.validation import Checks, require

if TYPE_CHECKING:
    from bokeh.server.server import Server

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
_LARGEST_PORT = 65535
_LOCAL = ("localhost", "127.0.0.1")
"""Names of this machine in the address of a page."""
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
        if not self.offline and self.online is None:
            raise ClimSimError("offline, online: expected at least one file of metrics")
        Checks(self).between(0, _LARGEST_PORT, "port")
        if self.hosts:
            require("port", self.port, self.port > 0, "the number of a port beside hosts")
        for host in self.hosts:
            fits = _HOST.fullmatch(host) is not None
            require("hosts", host, fits, "name:port, such as node:5006")


def explore(config: ExploreConfig, progress: Progress | None = None) -> str:
    """Serve the page until it is interrupted.

    Args:
        config: metrics and port.
        progress: not used: serving has no end.

    Returns:
        That it was stopped.

    Raises:
        ClimSimError: if bokeh is missing, the metrics cannot be read, or the port is taken.
    """
    if importlib.util.find_spec("bokeh") is None:
        raise missing_extra("explore", "bokeh", "explore")
    server = start(Study.open(config.offline, config.online), config.port, config.hosts)
    address = f"http://localhost:{server.port}/"
    logger.info("%s shows the metrics; Ctrl-C stops it", address)
    if config.browser:
        server.io_loop.add_callback(webbrowser.open, address)
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        server.stop()
    return f"{address} stopped"


def start(study: Study, port: int = 0, hosts: Sequence[str] = ()) -> Server:
    """Start a server that listens to this machine alone.

    Args:
        study: what its page shows.
        port: of the address; 0 takes a free one.
        hosts: ``name:port`` beside this machine's own that it may be asked for by.

    Raises:
        ClimSimError: if there is nothing to show or the port is taken.
    """
    from bokeh.application import Application
    from bokeh.application.handlers.function import FunctionHandler
    from bokeh.server.server import Server
    from tornado.web import ErrorHandler

    from climsim.explore.page import page_of

    application = Application(FunctionHandler(page_of(study)))
    origins = [*(f"{name}:{port}" for name in _LOCAL), *hosts] if port else None
    try:
        server = Server(
            {"/": application}, port=port, address="localhost", allow_websocket_origin=origins
        )
    except OSError as error:
        raise ClimSimError(
            f"port={port}: cannot listen there ({error.strerror}): stop what uses it, or give "
            "another port, or 0 for a free one"
        ) from error
    names = (*_LOCAL, *(host.partition(":")[0].lower() for host in hosts))
    others = f"(?!(?:{'|'.join(map(re.escape, names))})$).*"
    server._tornado.add_handlers(others, [(".*", ErrorHandler, {"status_code": 403})])
    server.start()
    return server
