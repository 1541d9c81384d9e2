"""From ``key=value`` overrides to the frozen configuration objects of the library.

Hydra composes the groups in ``climsim.conf``; dacite builds the dataclass, refusing unknown keys
and wrong types. Every problem becomes one line that names the key.
"""

from __future__ import annotations

import difflib
import glob
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import dacite
import yaml
from hydra import compose, initialize_config_module
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from climsim.data.address import StoreAddress, store_address
from climsim.errors import ClimSimError
from climsim.plugins import entry_point_names, is_reference

CONFIG_MODULE = "climsim.conf"
_OPEN = "network.hyperparameters"
"""Key below which any key may be set."""
T = TypeVar("T")


def compose_config(
    name: str, overrides: Sequence[str] = (), folder: str | None = None
) -> dict[str, Any]:
    """Compose and resolve one of the shipped configurations.

    Args:
        name: file name in ``climsim.conf`` without ``.yaml``.
        overrides: Hydra overrides such as ``"seed=7"`` or ``"network=unet"``.
        folder: a user's folder of further configuration groups (such as ``network/mine.yaml``).

    Returns:
        Plain nested dictionaries, every interpolation resolved.

    Raises:
        ClimSimError: for an unknown key or choice, a malformed override or a value not given.
    """
    search = [f"hydra.searchpath=[file://{Path(folder).resolve()}]"] if folder else []
    try:
        with initialize_config_module(CONFIG_MODULE, version_base=None):
            config = compose(name, overrides=[*friendly(overrides, name), *search])
            _require_values(config, name)
            resolved = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise one_line(error, name) from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def friendly(overrides: Sequence[str], name: str) -> list[str]:
    """Overrides as Hydra wants them, from what a user naturally types.

    ``network=x`` sets ``network.name`` where x is code of the user (``path/to/file.py:Class``, or
    an entry point of an installed package in ``climsim.<group>s``) and no file of the group. A
    hyperparameter may be given without Hydra's plus.

    Args:
        overrides: as given; values may be comma-separated.
        name: the configuration they are for.
    """
    groups = choices(name)

    def own(group: str, value: str) -> bool:
        if is_reference(value) or value in groups[group]:
            return is_reference(value)
        return value in entry_point_names(f"climsim.{group}s")

    result = []
    for override in overrides:
        key, _, value = override.partition("=")
        if key in groups and any(own(key, v) for v in value.split(",")):
            result.append(f"{key}.name={value}")
        elif key.startswith(_OPEN):
            result.append(f"++{override}")
        else:
            result.append(override)
    return result


def _require_values(config: DictConfig, name: str) -> None:
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        given = " ".join(f"{key}=..." for key in missing)
        raise ClimSimError(f"{name}: no value for {', '.join(missing)}: add {given}")


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
    return ClimSimError(f"configuration {name!r}: {' '.join(text.split())}")


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
    keys = known_keys(name)
    near = difflib.get_close_matches(key, keys, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"expected one of {', '.join(keys)}"
    return ClimSimError(f"unknown configuration key {key!r} of {name!r}: {hint}")


def build_config(cls: type[T], values: dict[str, Any]) -> T:
    """Build a configuration dataclass, nested ones included, from plain values.

    Args:
        cls: frozen dataclass.
        values: field values; text becomes `Path` and lists become tuples where declared; in lists
            of paths, ``*``, ``?`` and ``[...]`` stand for what is there, in the order of names.

    Raises:
        ClimSimError: naming the key that is unknown, missing or of the wrong type, or the pattern
            that nothing matches.
    """
    hooks: dict[Any, Any] = {
        float: _number,
        tuple[Path, ...]: _paths,
        StoreAddress: store_address,
    }
    settings = dacite.Config(strict=True, cast=[Path, tuple], type_hooks=hooks)
    try:
        return dacite.from_dict(cls, values, settings)
    except dacite.UnexpectedDataError as error:
        keys = ", ".join(sorted(error.keys))
        raise ClimSimError(f"unknown configuration key {keys!r} of {cls.__name__}") from error
    except dacite.DaciteError as error:
        raise ClimSimError(f"configuration of {cls.__name__}: {error}") from error


def _paths(values: Any) -> Any:
    if not isinstance(values, list | tuple):
        return values
    return [path for value in values for path in _matches(str(value))]


def _matches(path: str) -> list[str]:
    if not glob.has_magic(path) or Path(path).exists():
        return [path]
    found = sorted(glob.glob(path))
    if not found:
        raise ClimSimError(f"{path}: expected files or folders of such names, found none")
    return found


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
