"""What all tests share, and how parallel workers share them out."""

import ast
import signal
from functools import cache
from pathlib import Path

import pytest

from tests import SHARED


def pytest_configure() -> None:
    """Take the signals that nohup and the background of a script ignore: tests send them."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of golden and reference data; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with reference data is not there")
    return SHARED


@cache
def takes_embedded_model(path: Path) -> bool:
    """Whether a test or a fixture of a file takes the compiled embedded model."""
    functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    return any(a.arg in ("gcm", "gcm_session") for f in functions for a in f.args.args)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker takes whole files, and one takes all that need the embedded model compiled."""
    from xdist.scheduler import LoadFileScheduling

    class FilesAndModel(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "embedded model" if takes_embedded_model(config.rootpath / file) else file

    return FilesAndModel(config, log) if config.getvalue("dist") == "loadfile" else None
