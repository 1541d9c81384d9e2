"""From ``key=value`` overrides to the frozen configuration objects of the library.

Hydra composes defaults and choices (`climsim.schema`); dacite builds the dataclass, refusing
unknown keys and wrong types. Every problem becomes one line that names the key.
"""

from __future__ import annotations

import contextlib
import difflib
import glob
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import TypeVar, cast

import dacite
import yaml
from hydra import compose, initialize_config_module
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from climsim.cards import flatten
from climsim.data.store.address import StoreAddress, StoreUrl, is_url, store_address
from climsim.errors import ClimSimError, unknown_name
from climsim.hosts import check_run
from climsim.hosts.settings import build_settings
from climsim.keys import (
    Hint,
    Values,
    element,
    hint_of,
    hints,
    is_list,
    is_open,
    is_text,
    members_of,
    nested,
    type_text,
)
from climsim.overrides import OPTIONS_OF, friendly
from climsim.runs.config import RunConfig
from climsim.schema import (
    CONFIG_MODULE,
    EXPERIMENT,
    Schema,
    defaults,
    option_classes,
    schema,
    stands_alone,
)
from climsim.validation import as_number, as_text

T = TypeVar("T")


class MissingKeysError(ClimSimError):
    """Keys that the user must give and did not.

    Attributes:
        keys: dotted.
    """

    def __init__(self, command: str, keys: Sequence[str]) -> None:
        given = " ".join(f"{key}=..." for key in keys)
        super().__init__(f"{command}: no value for {', '.join(keys)}: add {given}")
        self.keys = tuple(keys)


def compose_config(name: str, overrides: Sequence[str] = (), folder: str | None = None) -> Values:
    """Compose and resolve a configuration.

    Args:
        name: of a stage, or ``"experiment"``.
        overrides: such as ``"seed=7"`` or ``"network=unet"`` (see `climsim.overrides`).
        folder: a user's folder of further configuration groups (such as ``network/mine.yaml``).

    Returns:
        Plain nested dictionaries, every interpolation resolved.

    Raises:
        ClimSimError: for an unknown key or choice, a malformed override, a value not given, or a
            folder or a file of further configuration that cannot be read.
    """
    wanted = schema(name)
    search = _search_path(Path(folder)) if folder else []
    try:
        further = wanted.further_keys(overrides)
        given = friendly(overrides, wanted.choices_of_groups(), wanted.cls, further=further)
        with readable_files(folder):
            config = _composed(wanted, [*given, *search])
        _require_values(config, wanted)
        resolved = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise one_line(error, wanted) from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def _search_path(folder: Path) -> list[str]:
    """The override that makes Hydra look in a folder."""
    require_config_folder(folder)
    return [f"hydra.searchpath=[file://{folder.resolve()}]"]


def require_config_folder(folder: Path) -> None:
    """Refuse a folder of configuration that is not there, which Hydra would pass over."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise ClimSimError(
            f"--config-dir={folder}: expected a folder of further configuration, found {found}: "
            "give its path"
        )


@contextlib.contextmanager
def readable_files(folder: str | None) -> Iterator[None]:
    """Turn what is raised for a damaged file of a user into one line that names file and line."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(text for text in (error.context, error.problem) if text)
        where = "" if mark is None else f"{mark.name}, line {mark.line + 1}: "
        raise ClimSimError(f"{where}not valid YAML ({problem}): correct it") from error
    except yaml.YAMLError as error:
        # A character that YAML does not allow: the text names the file and the place.
        text = " ".join(str(error).split())
        raise ClimSimError(f"--config-dir={folder}: not valid YAML ({text}): correct it") from error
    except UnicodeDecodeError as error:
        where = _place_of(error, Path(folder or "."))
        raise ClimSimError(f"{where}: not UTF-8 ({error.reason}): save it as UTF-8") from error


def _place_of(error: UnicodeDecodeError, folder: Path) -> str:
    """File of a folder, and line, that cannot be decoded; the error holds the bytes alone."""
    for path in sorted(folder.rglob("*.yaml")):
        begin = path.read_bytes().find(error.object)
        if begin >= 0:
            line = path.read_bytes()[: begin + error.start].count(b"\n") + 1
            return f"{path}, line {line}"
    return f"--config-dir={folder}"


def _composed(wanted: Schema, overrides: Sequence[str] = ()) -> DictConfig:
    wanted.register()
    with initialize_config_module(CONFIG_MODULE, version_base=None):
        return compose(wanted.name, overrides=list(overrides))


def _require_values(config: DictConfig, wanted: Schema) -> None:
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise MissingKeysError(wanted.command, missing)


def one_line(error: Exception, wanted: Schema) -> ClimSimError:
    """What Hydra says in many lines.

    Args:
        error: raised by Hydra or OmegaConf.
        wanted: the configuration that was composed.
    """
    text = str(error)
    if isinstance(error, MissingConfigException) and "Available options" in text:
        found = re.search(r"Could not find '([^']+)'", text)
        options = re.findall(r"^\t([\w.-]+)$", text, re.MULTILINE)
        group, _, choice = (found[1] if found else text.splitlines()[0]).rpartition("/")
        return unknown_name(group or "choice", choice, options)
    found = re.match(r"Could not override '([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and found:
        if wanted.name == EXPERIMENT and is_open(hint_of(wanted.cls, found[1].partition(".")[0])):
            return ClimSimError(
                f"the study holds no key {found[1]!r} yet: add it with a plus: +{found[1]}=..."
            )
        keys = {*flat_defaults(wanted.name), *wanted.further_keys()}
        known = [*sorted(keys), *wanted.choices]
        return unknown_key(found[1], known, wanted.command)
    return ClimSimError(f"{wanted.command}: {' '.join(text.split())}")


def flat_defaults(name: str, chosen: Sequence[str] = ()) -> Values:
    """Dotted keys of a configuration and their values, with every option of what is chosen.

    Args:
        name: of a stage, or ``"experiment"``.
        chosen: choices of groups, such as ``"host=e3sm"``, in place of the default ones.

    Returns:
        The values, ``???`` for those that the user must give.
    """
    wanted = schema(name)
    # What a study interpolates may not be given yet.
    resolve = name != EXPERIMENT
    try:
        given = friendly(chosen, wanted.choices_of_groups(), wanted.cls)
        values = OmegaConf.to_container(_composed(wanted, given), resolve=resolve)
    except HydraException as error:
        raise one_line(error, wanted) from error
    assert isinstance(values, dict)
    for options, classes in wanted.option_classes(chosen).items():
        # One that also holds what is no option names its options in the file of the choice.
        usual = [defaults(cls) for cls in classes if stands_alone(cls)]
        values[options] = dict(ChainMap(values[options], *usual))
    return flatten(values)


def unknown_key(key: str, known: Sequence[str], where: str) -> ClimSimError:
    """The error for a key that does not exist, with those that it resembles.

    Args:
        key: dotted.
        known: dotted keys that exist.
        where: command or configuration.
    """
    group, _, last = key.rpartition(".")
    near = [k for k in known if k.rpartition(".")[2] == last]
    # All keys of a group begin alike: only what follows tells which one was meant.
    beside = {k.rpartition(".")[2]: k for k in known if k.rpartition(".")[0] == group}
    near = near or [beside[name] for name in difflib.get_close_matches(last, beside, n=3)]
    if not near and not group:
        near = difflib.get_close_matches(key, known, n=3)
    listed = list(beside.values()) if group and beside else known
    hint = f"did you mean {', '.join(near)}?" if near else f"expected one of {', '.join(listed)}"
    return ClimSimError(f"unknown configuration key {key!r} of {where!r}: {hint}")


def build_config(cls: type[T], values: Values) -> T:
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
        hooks: dict[type, Callable[..., object]] = {cast(type, StoreAddress): store_address}
        settings = dacite.Config(strict=True, cast=[Path, tuple], type_hooks=hooks)
        return dacite.from_dict(cls, fitted, settings)
    except dacite.MissingValueError as error:
        raise ClimSimError(f"{error.field_path}: expected a value, found none") from error
    except dacite.WrongTypeError as error:
        expected = type_text(error.field_type)
        raise ClimSimError(
            f"{error.field_path}: expected {expected}, found {error.value!r}"
        ) from error


def stage_config(name: str, values: Values) -> object:
    """Build the configuration of a stage, and refuse options that its host would refuse.

    Args:
        name: of the stage.
        values: field values (see `build_config`).

    Raises:
        ClimSimError: as `build_config`, or naming the option.
    """
    wanted = schema(name)
    config: object = build_config(wanted.cls, values)
    for group, key in OPTIONS_OF.items():
        if group in wanted.choices:
            _check_options(wanted, config, group, key)
    if isinstance(config, RunConfig):
        check_run(config)
    return config


def _check_options(wanted: Schema, config: object, group: str, key: str) -> None:
    """Refuse options that what a group chose does not know, or values that it does not take."""
    options: Values = getattr(config, key)
    classes = option_classes(group, getattr(config, group))
    known = {name: cls for cls in classes for name in hints(cls)}
    for name in options if known else ():
        if name not in known:
            raise unknown_key(f"{key}.{name}", [f"{key}.{k}" for k in known], wanted.command)
    for cls in classes:
        # One that needs more than options is built where the rest is known.
        if stands_alone(cls):
            build_settings(cls, {k: v for k, v in options.items() if known[k] is cls})


def _fitted(cls: type, values: Mapping[str, object], prefix: str) -> Values:
    """Values in the form that the fields of a dataclass want."""
    known = hints(cls)
    for key in values:
        if key not in known:
            raise unknown_key(f"{prefix}{key}", [f"{prefix}{k}" for k in known], cls.__name__)
    return {key: _fit(known[key], value, f"{prefix}{key}") for key, value in values.items()}


def _fit(hint: Hint, value: object, key: str) -> object:
    inner = nested(hint)
    if inner is not None and isinstance(value, Mapping):
        return _fitted(inner, value, f"{key}.")
    if value is None or is_dataclass(value):
        return _fit_null(hint, value, key)
    if is_list(hint):
        return _fit_list(hint, value, key)
    kinds = members_of(hint)
    if float in kinds:
        value = as_number(value)
    if is_text(hint):
        value = as_text(value)
    if Path in kinds and isinstance(value, str) and (value or str not in kinds):
        return local_path(value, key, url=StoreUrl in kinds)
    return value


def _fit_null(hint: Hint, value: object, key: str) -> object:
    if value is None and type(None) not in members_of(hint):
        raise ClimSimError(f"{key}: expected {type_text(hint)}, found null")
    return value


def _fit_list(hint: Hint, value: object, key: str) -> object:
    if isinstance(value, Mapping):
        return value
    kind = element(hint)
    if not isinstance(value, list | tuple):
        fitted = [_fit(kind, value, key)]
    else:
        fitted = [_fit(kind, v, f"{key}[{index}]") for index, v in enumerate(value)]
    if kind is Path:
        return [path for value in fitted for path in _matches(str(value))]
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


def _matches(path: str) -> list[str]:
    if not glob.has_magic(path) or Path(path).exists():
        return [path]
    found = sorted(glob.glob(path))
    if not found:
        raise ClimSimError(f"{path}: expected files or folders of such names, found none")
    return found
