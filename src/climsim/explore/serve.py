"""Serving the interactive page on this machine."""

from __future__ import annotations

import importlib.util
import logging
import re
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING

from climsim.errors import ClimSimError, missing_extra
from climsim.explore.config import ExploreConfig
from climsim.results.study import Study
from climsim.stage import Progress

if TYPE_CHECKING:
    from bokeh.server.server import Server

logger = logging.getLogger(__name__)

_LOCAL = ("localhost", "127.0.0.1")
"""Names of this machine in the address of a page."""


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
