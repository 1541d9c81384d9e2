"""From ``key=value`` overrides to the frozen configuration objects of the library.

Hydra composes the groups in ``climsim.conf``; dacite builds the dataclass, refusing unknown keys
and wrong types. Every problem becomes one line that names the key.
"""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import dacite
import yaml
from hydra import compose, initialize_config_module
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from climsim.data.store.address import StoreAddress, StoreUrl, is_url, store_address
from climsim.errors import ClimSimError
from climsim.keys import element, hints, is_list, is_text, members_of, nested, type_text
from climsim.overrides import friendly
from climsim.stages import command_of

CONFIG_MODULE = "climsim.conf"
T = TypeVar("T")


def compose_config(
    name: str,
    overrides: Sequence[str] = (),
    folder: str | None = None,
    cls: type | None = None,
) -> dict[str, Any]:
    """Compose and resolve one of the shipped configurations.

    Args:
        name: file name in ``climsim.conf`` without ``.yaml``.
        overrides: such as ``"seed=7"`` or ``"network=unet"`` (see `climsim.overrides`).
        folder: a user's folder of further configuration groups (such as ``network/mine.yaml``).
        cls: dataclass of the configuration: it says which values are texts, paths or lists.

    Returns:
        Plain nested dictionaries, every interpolation resolved.

    Raises:
        ClimSimError: for an unknown key or choice, a malformed override or a value not given.
    """
    search = [f"hydra.searchpath=[file://{Path(folder).resolve()}]"] if folder else []
    try:
        with initialize_config_module(CONFIG_MODULE, version_base=None):
            given = friendly(overrides, choices(name), cls)
            config = compose(name, overrides=[*given, *search])
            _require_values(config, name)
            resolved = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise one_line(error, name) from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _require_values(config: DictConfig, name: str) -> None:
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        given = " ".join(f"{key}=..." for key in missing)
        raise ClimSimError(f"{command_of(name)}: no value for {', '.join(missing)}: add {given}")


def one_line(error: Exception, name: str) -> ClimSimError:
    """What Hydra says in many lines.

    Args:
        error: raised by Hydra or OmegaConf.
        name: the configuration that was composed.
    """
    text = str(error)
    if isinstance(error, MissingConfigException) and "Available options" in text:
        found = re.search(r"Could not find '([^']+)'", text)
        options = re.findall(r"^\t([\w.-]+)$", text, re.MULTILINE)
        choice = found[1] if found else text.splitlines()[0]
        return ClimSimError(f"unknown choice {choice!r}: expected one of {', '.join(options)}")
    found = re.match(r"Could not override '([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and found:
        return _unknown_key(found[1], name)
    return ClimSimError(f"{command_of(name)}: {' '.join(text.split())}")


def choices(name: str) -> dict[str, list[str]]:
    """Groups of a shipped configuration and what each can be set to.

    Args:
        name: file name in ``climsim.conf`` without ``.yaml``.

    Returns:
        For each group, such as ``"network"``, the names of its files.
    """
    root = resources.files(CONFIG_MODULE)
    shipped = yaml.safe_load((root / f"{name}.yaml").read_text())
    defaults = shipped.get("defaults", [])
    groups = [str(key) for item in defaults if not isinstance(item, str) for key in item]
    return {
        group: sorted(file.name.removesuffix(".yaml") for file in (root / group).iterdir())
        for group in groups
    }


def known_keys(name: str) -> list[str]:
    """Every dotted key of a shipped configuration, missing values included."""
    with initialize_config_module(CONFIG_MODULE, version_base=None):
        config = compose(name)
    return sorted(flatten(OmegaConf.to_container(config, resolve=False)))


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Turn nested dictionaries into one with dotted keys; an inner empty one stays a value."""
    if not isinstance(value, dict) or (prefix and not value):
        return {prefix.removesuffix("."): value}
    result: dict[str, Any] = {}
    for key, child in value.items():
        result |= flatten(child, f"{prefix}{key}.")
    return result


def flat_defaults(name: str) -> dict[str, Any]:
    """Dotted keys and their default values, ``???`` for those the user must give."""
    with initialize_config_module(CONFIG_MODULE, version_base=None):
        config = compose(name)
    return flatten(OmegaConf.to_container(config, resolve=False))


def _unknown_key(key: str, name: str) -> ClimSimError:
    return unknown_key(key, [*known_keys(name), *choices(name)], command_of(name))


def unknown_key(key: str, known: Sequence[str], where: str) -> ClimSimError:
    """The error for a key that does not exist, with those that it resembles.

    Args:
        key: dotted.
        known: dotted keys that exist.
        where: command or configuration.
    """
    last = key.rpartition(".")[2]
    near = [k for k in known if k.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(key, known, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"expected one of {', '.join(known)}"
    return ClimSimError(f"unknown configuration key {key!r} of {where!r}: {hint}")


def build_config(cls: type[T], values: dict[str, Any]) -> T:
    """Build a configuration dataclass, nested ones included, from plain values.

    Args:
        cls: frozen dataclass.
        values: field values; text becomes `Path` and lists become tuples where declared, one value
            a list of one, a number text; in lists of paths, ``*``, ``?`` and ``[...]`` stand for
            what is there, in the order of names.

    Raises:
        ClimSimError: naming the key that is unknown, missing or of the wrong type, or the pattern
            that nothing matches.
    """
    try:
        fitted = _fitted(cls, values, "")
        hooks: dict[Any, Any] = {StoreAddress: store_address}
        settings = dacite.Config(strict=True, cast=[Path, tuple], type_hooks=hooks)
        return dacite.from_dict(cls, fitted, settings)
    except dacite.MissingValueError as error:
        raise ClimSimError(f"{error.field_path}: expected a value, found none") from error
    except dacite.WrongTypeError as error:
        expected = type_text(error.field_type)
        raise ClimSimError(
            f"{error.field_path}: expected {expected}, found {error.value!r}"
        ) from error


def _fitted(cls: type, values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Values in the form that the fields of a dataclass want."""
    known = hints(cls)
    for key in values:
        if key not in known:
            raise unknown_key(f"{prefix}{key}", [f"{prefix}{k}" for k in known], cls.__name__)
    return {key: _fit(known[key], value, f"{prefix}{key}") for key, value in values.items()}


def _fit(hint: Any, value: Any, key: str) -> Any:
    inner = nested(hint)
    if inner is not None and isinstance(value, Mapping):
        return _fitted(inner, value, f"{key}.")
    if value is None or is_dataclass(value):
        return _fit_null(hint, value, key)
    if is_list(hint):
        return _fit_list(hint, value, key)
    kinds = members_of(hint)
    if isinstance(value, int) and not isinstance(value, bool) and float in kinds:
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and is_text(hint):
        value = str(value)
    if Path in kinds and isinstance(value, str) and (value or str not in kinds):
        return local_path(value, key, url=StoreUrl in kinds)
    return value


def _fit_null(hint: Any, value: Any, key: str) -> Any:
    if value is None and hint is not Any and type(None) not in members_of(hint):
        raise ClimSimError(f"{key}: expected {type_text(hint)}, found null")
    return value


def _fit_list(hint: Any, value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value
    kind = element(hint)
    if not isinstance(value, list | tuple):
        fitted = [_fit(kind, value, key)]
    else:
        fitted = [_fit(kind, v, f"{key}[{place}]") for place, v in enumerate(value)]
    if kind is Path:
        return [path for value in fitted for path in _matches(value)]
    return fitted


def local_path(text: str, key: str, url: bool = False) -> str:
    """A path as a user types it, with the home folder in place of a tilde.

    Args:
        text: as typed.
        key: that it is the value of, for messages.
        url: whether a URL may stand for it.

    Raises:
        ClimSimError: if it is empty, or a URL where none may be.
    """
    if not text.strip():
        raise ClimSimError(f"{key}: expected a path, found an empty text: give one")
    if is_url(text) and not url:
        raise ClimSimError(f"{key}: expected a path of this machine, found the URL {text}")
    return str(Path(text).expanduser()) if text.startswith("~") else text


def _matches(path: Path | str) -> list[str]:
    if not glob.has_magic(str(path)) or Path(path).exists():
        return [str(path)]
    found = sorted(glob.glob(str(path)))
    if not found:
        raise ClimSimError(f"{path}: expected files or folders of such names, found none")
    return found
