"""Where a product comes from: the chain of what made it, back to the raw data.

Every product carries the version, revision, configuration and environment that made it and the
hashes of its inputs (`climsim.files.provenance`). Here they are read again, the inputs are looked
for where they were or beside the product, and their hashes are compared.
"""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.text import Text
from rich.tree import Tree

from climsim.configuration import build_config, flatten
from climsim.errors import ClimSimError
from climsim.files import file_hash, read_json, stored_attributes
from climsim.plugins import is_reference, reference_file

UNCHANGED, CHANGED, MISSING, UNCHECKED = "unchanged", "changed", "missing", "not checked"
NOT_KEPT = "computed, not kept"
_RECORD, _TRAINING, _FIGURES = "record.json", "training.json", "index.json"
_EMBEDDED = re.compile(r'<script[^>]*id="provenance"[^>]*>(.*?)</script>', re.DOTALL)
_LEVELS_UP = 4


@dataclass(frozen=True)
class Link:
    """An input of a product.

    Attributes:
        name: its role or path, as the product names it.
        recorded: the hash or fingerprint that the product names.
        state: unchanged, changed, missing, not checked where there is nothing to compare, or not
            kept where the command itself computed it.
        product: what it is itself; None where it is missing or says nothing.
        path: where it was found; None where it is missing.
    """

    name: str
    recorded: str
    state: str
    path: Path | None = None
    product: Product | None = None


@dataclass(frozen=True)
class Product:
    """A product and what made it.

    Attributes:
        path: of the product.
        kind: what it is, in words.
        version: of the package; empty where the product does not say.
        revision: of the source.
        configuration: resolved settings of the step that made it.
        environment: versions of what it ran on.
        inputs: what it was made from.
    """

    path: Path
    kind: str
    version: str = ""
    revision: str = ""
    configuration: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    inputs: tuple[Link, ...] = ()

    def links(self) -> Iterator[Link]:
        """Every link of the chain, nearest first."""
        for link in self.inputs:
            yield link
            if link.product is not None:
                yield from link.product.links()

    @property
    def ok(self) -> bool:
        """Whether no input of the chain is known to have changed."""
        return all(link.state != CHANGED for link in self.links())


def trace(path: str | Path) -> Product:
    """Follow a product back to the raw data.

    Args:
        path: a file or folder that one of the commands made.

    Returns:
        The product with its inputs, theirs, and so on.

    Raises:
        ClimSimError: if there is nothing, or it does not say what made it.
    """
    path = Path(path)
    if not path.exists():
        raise ClimSimError(f"{path}: no such file or folder")
    kind, attributes = _read(path)
    if attributes is None:
        raise ClimSimError(
            f"{path}: does not say what made it: expected a product of one of the commands "
            "(store, statistics, checkpoint, exported model, metrics, run, figures, report)"
        )
    return _Chain().product(path, kind, attributes)


class _Chain:
    """The products of one call of `trace`: members share their inputs, which are read once."""

    def __init__(self) -> None:
        self._products: dict[Path, Product | None] = {}
        self._identities: dict[Path, tuple[str, ...] | None] = {}

    def product(self, path: Path, kind: str, attributes: Mapping[str, Any]) -> Product:
        """A product with its inputs, theirs, and so on."""
        # Known before its inputs are followed: a product that names itself is not followed again.
        self._products.setdefault(path.resolve(), None)
        configuration = _decoded(path, attributes.get("configuration"))
        hashes = _decoded(path, attributes.get("input_hashes"))
        links = [self._link(path, configuration, n, str(h)) for n, h in hashes.items()]
        return Product(
            path=path,
            kind=kind,
            version=str(attributes.get("climsim_version", "")),
            revision=str(attributes.get("git_revision", "")),
            configuration=configuration,
            environment=_decoded(path, attributes.get("environment")),
            inputs=tuple(links),
        )

    def _link(
        self, product: Path, configuration: Mapping[str, Any], name: str, recorded: str
    ) -> Link:
        path = self._find(product, configuration, name, recorded)
        if path is None:
            return Link(name, recorded, NOT_KEPT if _unnamed(configuration, name) else MISSING)
        state = UNCHECKED
        now = _raw_identity(path, configuration) if name == "raw" else self._identity(path)
        if now is not None:
            state = UNCHANGED if recorded in now else CHANGED
        return Link(name, recorded, state, path, self._made(path))

    def _made(self, path: Path) -> Product | None:
        key = path.resolve()
        if key not in self._products:
            kind, attributes = _read(path)
            found = None if attributes is None else self.product(path, kind, attributes)
            self._products[key] = found
        return self._products[key]

    def _identity(self, path: Path) -> tuple[str, ...] | None:
        key = path.resolve()
        if key not in self._identities:
            self._identities[key] = _identity(path)
        return self._identities[key]

    def _find(
        self, product: Path, configuration: Mapping[str, Any], name: str, recorded: str
    ) -> Path | None:
        """An input by the path that the product names, from its folder up, or by its identity."""
        flat = flatten(dict(configuration))
        named = [v for k, v in flat.items() if k == name or k.endswith(f".{name}")]
        named += [
            p for v in flat.values() if isinstance(v, list) for p in v if Path(str(p)).stem == name
        ]
        named += [v for v in flat.values() if isinstance(v, str) and Path(v).name == name]
        named += _code_files(flat, name)
        folders = [product.absolute().parent, *product.absolute().parents][: _LEVELS_UP + 1]
        for text in (name, *(v for v in named if isinstance(v, str))):
            for folder in folders:
                if (folder / text).exists():
                    return folder / text
        pattern = {"store": "*.zarr", "statistics": "*.nc"}.get(name)
        for folder in folders[:3] if pattern else []:
            for path in sorted(folder.glob(pattern or "")):
                # A neighbour that cannot be read is not the input; nothing else depends on it.
                with contextlib.suppress(ClimSimError, OSError):
                    if recorded in (self._identity(path) or ()):
                        return path
        return None


def _unnamed(configuration: Mapping[str, Any], role: str) -> bool:
    """Whether the settings have a key for an input and it is empty: the command computed it."""
    flat = flatten(dict(configuration))
    given = [v for key, v in flat.items() if key == role or key.endswith(f".{role}")]
    return bool(given) and not any(given)


def _code_files(flat: Mapping[str, Any], name: str) -> list[str]:
    """Files of a user's network or loss by the reference that the settings hold.

    Args:
        flat: dotted settings.
        name: role of the code, such as ``network``.

    Returns:
        Where the file was, then its name alone, which is looked for beside the product.
    """
    roles = (name, f"{name}.name")
    references = [
        str(value)
        for key, value in flat.items()
        if is_reference(str(value)) and any(key == r or key.endswith(f".{r}") for r in roles)
    ]
    files = [reference_file(reference) for reference in references]
    return [str(file) for file in files] + [file.name for file in files]


def _decoded(path: Path, value: object) -> dict[str, Any]:
    """A mapping that a product holds as JSON, or as it is; empty where it holds none."""
    if isinstance(value, str | bytes) and value:
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ClimSimError(
                f"{path}: what it says of its making is no JSON ({error}): it was damaged or edited"
            ) from error
    return dict(value) if isinstance(value, dict) else {}


def _identity(path: Path) -> tuple[str, ...] | None:
    """The hashes that a product can be known by; None where there is none to compare."""
    if path.is_file():
        content = file_hash(path)
        fingerprint = stored_attributes(path).get("fingerprint") if path.suffix == ".nc" else None
        return (content, str(fingerprint)) if fingerprint else (content,)
    if (path / "zarr.json").is_file():
        return (str(stored_attributes(path).get("fingerprint", "")),)
    if (path / _RECORD).is_file():
        return _run_identity(path)
    return None


def _raw_identity(path: Path, configuration: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Identity of the step files as the preparation hashed them; None where it hashed less."""
    # Earlier versions hashed less: nothing of today compares with that.
    if "identity" not in configuration:
        return None
    # Here, not above: planning a preparation needs more than reading attributes.
    from climsim.data.store.plan import PrepareConfig, make_plan

    try:
        config = build_config(PrepareConfig, {**configuration, "raw": str(path)})
        return (make_plan(config).digest,)
    except ClimSimError:
        return None


def _run_identity(path: Path) -> tuple[str, ...] | None:
    # Here, not above: reading histories needs more than reading attributes.
    from climsim.evaluation.history import RunHistory
    from climsim.evaluation.online import run_summary

    try:
        return (run_summary(RunHistory.open(path)),)
    except ClimSimError:
        return None


def _read(path: Path) -> tuple[str, dict[str, Any] | None]:
    """Kind of a product, and the attributes that say what made it; None where there are none."""
    if path.is_dir():
        return _read_folder(path)
    reader = _READERS.get(path.suffix)
    if reader is None:
        return "file", None
    kind, attributes = reader(path)
    if "git_revision" not in attributes and (path.parent / _RECORD).is_file():
        return "history", _record(path.parent / _RECORD)[1]
    return kind, attributes if "git_revision" in attributes else None


def _read_folder(path: Path) -> tuple[str, dict[str, Any] | None]:
    if (path / "zarr.json").is_file():
        return "store", stored_attributes(path)
    if (path / _RECORD).is_file():
        return _record(path / _RECORD)
    if (path / _TRAINING).is_file() and (path / "best.ckpt").is_file():
        return _checkpoint(path / "best.ckpt")
    if (path / _FIGURES).is_file():
        return "figures", _decoded(path, read_json(path / _FIGURES))
    generated = path / ".generate" / _RECORD
    if generated.is_file():
        return "raw step pairs", _decoded(path, read_json(generated))
    # Here, not above: most products are no raw data.
    from climsim.data.raw.walk import iterate_step_files

    steps = next((p for p in iterate_step_files(path) if ".mlo." in p.name), None)
    return "raw step pairs", None if steps is None else {
        **stored_attributes(steps),
        "input_hashes": "{}",
    }


def _record(path: Path) -> tuple[str, dict[str, Any]]:
    values = _decoded(path, read_json(path))
    return "online run", _decoded(path, values.get("made_by", values))


def _netcdf_kind(path: Path) -> tuple[str, dict[str, Any]]:
    attributes = stored_attributes(path)
    if "store_fingerprint" in attributes:
        return "statistics", attributes
    settings = _decoded(path, attributes.get("configuration"))
    if "reference" in settings:
        return "online metrics", attributes
    return ("offline metrics" if "model" in settings else "netCDF file"), attributes


def _checkpoint(path: Path) -> tuple[str, dict[str, Any]]:
    # Here, not above: it loads torch, which few products need.
    from climsim.training.checkpoint import KEY, read_checkpoint

    return "checkpoint", dict(read_checkpoint(path)[KEY]["provenance"])


def _exported(path: Path) -> tuple[str, dict[str, Any]]:
    """The metadata inside a TorchScript file, without loading its network."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith("/extra/metadata.json")]
            text = archive.read(names[0]) if names else b"{}"
    except zipfile.BadZipFile as error:
        raise ClimSimError(f"{path}: expected a TorchScript file, found something else") from error
    return "exported model", _decoded(path, text)


def _html(path: Path) -> tuple[str, dict[str, Any]]:
    found = _EMBEDDED.search(path.read_text(errors="replace"))
    return "report", _decoded(path, found[1]) if found else {}


def _figure(path: Path) -> tuple[str, dict[str, Any]]:
    index = path.parent / _FIGURES
    return "figure", _decoded(index, read_json(index)) if index.is_file() else {}


def _json(path: Path) -> tuple[str, dict[str, Any]]:
    if path.name == _RECORD:
        return _record(path)
    kind = "figures" if path.name == _FIGURES else "file"
    return kind, _decoded(path, read_json(path))


def tree(product: Product) -> Tree:
    """Lay the chain of a product out as a tree for the terminal."""
    root = Tree(_label(product))
    _grow(root, product)
    return root


def _grow(branch: Tree, product: Product) -> None:
    settings = ", ".join(f"{k}={v}" for k, v in flatten(product.configuration).items())
    for name, text in (("settings", settings), ("ran on", _versions(product))):
        if text:
            branch.add(Text(f"{name}: {text}", style="dim"))
    for link in product.inputs:
        label = Text(f"{link.path or link.name} ") if link.product is None else _label(link.product)
        label.append(f" [{link.state}]", style=_STYLES[link.state])
        label.append(f" {link.recorded[:12]}", style="dim")
        below = branch.add(label)
        if link.product is not None:
            _grow(below, link.product)


def _label(product: Product) -> Text:
    text = Text(f"{product.kind} ", style="")
    text.append(str(product.path), style="bold")
    if product.revision:
        text.append(f" made by {product.revision} (version {product.version or 'unknown'})")
    return text


def _versions(product: Product) -> str:
    return ", ".join(f"{name} {version}" for name, version in product.environment.items())


def as_json(product: Product) -> str:
    """The chain of a product as JSON."""
    return json.dumps(asdict(product), indent=2, default=str)


_STYLES = {UNCHANGED: "green", CHANGED: "red", MISSING: "yellow", UNCHECKED: "dim", NOT_KEPT: "dim"}
_READERS: dict[str, Callable[[Path], tuple[str, dict[str, Any]]]] = {
    ".nc": _netcdf_kind,
    ".ckpt": _checkpoint,
    ".pt": _exported,
    ".html": _html,
    ".png": _figure,
    ".pdf": _figure,
    ".json": _json,
}
