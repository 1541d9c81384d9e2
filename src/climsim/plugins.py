"""Code of users: an object of a file, ``path/to/file.py:Name``, or of an installed package.

A file is run once per process, under a module name of its own. An installed package offers its
objects as entry points.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import logging
import sys
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from climsim.errors import ClimSimError
from climsim.files import file_hash
from climsim.system import refusal

logger = logging.getLogger(__name__)

_MARK = ".py:"
_PLACE = "<--- HERE"
"""What TorchScript writes below the place of an error."""
_MODULE = "climsim_user_"
"""Begin of the names of the modules that files of users become."""


def is_reference(name: str) -> bool:
    """Whether a name has the form ``path/to/file.py:Name``."""
    return _MARK in name


def absolute_reference(name: str) -> str:
    """The reference with its path made absolute; any other name as it is.

    A checkpoint keeps the reference and may be read from another folder.
    """
    if not is_reference(name):
        return name
    path, attribute = _parts(name)
    return f"{path.resolve()}:{attribute}"


def short_name(name: str) -> str:
    """What a reference names, for labels: ``Name`` of ``path/to/file.py:Name``."""
    return _parts(name)[1] if is_reference(name) else name


def reference_file(name: str) -> Path:
    """The file of a reference."""
    return _parts(name)[0]


def _parts(name: str) -> tuple[Path, str]:
    path, _, attribute = name.rpartition(":")
    return Path(path), attribute


def allowed_reference(name: str, code: Sequence[Path], holder: str, recorded: str = "") -> str:
    """The reference in a file, which the user has to allow before its code is run.

    Args:
        name: what the file names; anything but a reference to code in a file is returned as it is.
        code: files that the user allows. One at the recorded path stands for it, or else one of
            the same file name, wherever it lies.
        holder: the file that holds the name, for messages.
        recorded: hash of the code when the file was written, where known.

    Returns:
        The reference to the allowed file.

    Raises:
        ClimSimError: if none of them is allowed.
    """
    if not is_reference(name):
        return name
    path, attribute = _parts(name)
    at_place = [file for file in code if file.resolve() == path.resolve()]
    allowed = at_place or [file for file in code if file.name == path.name]
    if not allowed:
        raise ClimSimError(
            f"{holder}: expected permission to run the code that it names, {str(path)!r}, found "
            f"none: if you trust that file, allow it with code={path}, or with the "
            "path where it lies now"
        )
    if recorded and allowed[0].is_file() and file_hash(allowed[0]) != recorded:
        logger.warning("%s: %s has changed since it was trained", holder, allowed[0])
    return f"{allowed[0].resolve()}:{attribute}"


def load_reference(name: str, kind: str) -> object:
    """Load the object that a reference names.

    Args:
        name: ``path/to/file.py:Name``.
        kind: what the object is, for messages, such as ``"network"``.

    Raises:
        ClimSimError: if the file is missing or fails to run, or has no such object.
    """
    path, attribute = _parts(name)
    path = path.resolve()
    if not path.is_file():
        raise ClimSimError(
            f"{path}: no such file: expected the code of the {kind} {attribute!r}: give the path "
            "as file.py:Name, or install the code as a package with an entry point"
        )
    module = _run(path)
    if not hasattr(module, attribute):
        defined = [
            n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
        ]
        raise ClimSimError(
            f"{path}: expected the {kind} {attribute!r}, found {', '.join(defined) or 'nothing'}: "
            "give the name of a class or function of the file after the colon"
        )
    return getattr(module, attribute)


@cache
def _run(path: Path) -> ModuleType:
    name = f"{_MODULE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _broken(str(path), error) from error
    return module


def entry_point_names(group: str) -> tuple[str, ...]:
    """Names that installed packages offer in a group of entry points, nothing imported."""
    return tuple(sorted(metadata.entry_points(group=group).names))


def check_complete(name: str, kind: str) -> None:
    """Refuse the path of a file without the name of an object in it.

    Args:
        name: as given.
        kind: what it should denote, such as ``"network"``.

    Raises:
        ClimSimError: naming what the file defines.
    """
    path = Path(name)
    if path.suffix != ".py":
        return
    found = ""
    if path.is_file():
        with contextlib.suppress(SyntaxError, ValueError, OSError):
            kinds = (ast.ClassDef, ast.FunctionDef)
            body = ast.parse(path.read_bytes()).body
            found = ", ".join(f"{name}:{n.name}" for n in body if isinstance(n, kinds))
    raise ClimSimError(
        f"{kind}={name}: expected the name of the {kind} after the file, as in {name}:Name"
        + (f": give one of {found}" if found else "")
    )


def load_entry_point(group: str, name: str) -> object:
    """Load what an installed package offers under a name.

    Raises:
        ClimSimError: if its module fails to import.
    """
    (point, *_) = metadata.entry_points(group=group, name=name)
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise _broken(f"entry point {name!r} of {group} ({point.value})", error) from error


def error_of_user(error: BaseException) -> ClimSimError | None:
    """The clear line for an error that code of a user raised; None for any other.

    Args:
        error: as it was caught.
    """
    modules = (module for name, module in sys.modules.items() if name.startswith(_MODULE))
    user_files = {module.__file__ for module in modules}
    frame = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in user_files:
            frame = trace
        trace = trace.tb_next
    if frame is None:
        return None
    code, text = frame.tb_frame.f_code, reason(error)
    return ClimSimError(
        f"{code.co_filename}: {type(error).__name__} at line {frame.tb_lineno}, in {code.co_name}"
        f"{f': {text}' if text else ''}: fix the code"
    )


def clear_error(error: BaseException) -> ClimSimError | None:
    """The clear line for an error of the operating system or of a user's code; None for others."""
    return refusal(error) or error_of_user(error)


def reason(error: BaseException) -> str:
    """What an error says, on one line; TorchScript's lines stay, for it marks a place below one."""
    if isinstance(error, SystemExit):
        return f"it ends the program (exit code {error.code or 0}): raise an error instead"
    lines = [line.rstrip() for line in str(error).strip().splitlines() if line.strip()]
    if any(_PLACE in line for line in lines):
        return "\n".join(lines)
    return " ".join(" ".join(lines).split())


def _broken(where: str, error: BaseException) -> ClimSimError:
    if isinstance(error, ClimSimError):
        return error
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = getattr(error, "lineno", None) or (trace.tb_lineno if trace else 0)
    return ClimSimError(
        f"{where}: cannot be imported: {type(error).__name__} at line {line}: {reason(error)}: "
        "fix the code"
    )
