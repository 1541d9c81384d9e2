"""Where a product comes from: the chain of what made it, back to the raw data.

Every product carries the version, revision, configuration and environment that made it and the
hashes of its inputs (`climsim.files.provenance`). Here they are read again, the inputs are looked
for where they were or beside the product, and their hashes are compared.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.text import Text
from rich.tree import Tree

from climsim.cards import flatten
from climsim.configuration import build_config
from climsim.errors import ClimSimError
from climsim.files import file_hash
from climsim.lineage import Notes, decoded, source_of
from climsim.plugins import is_reference, reference_file

UNCHANGED, CHANGED, MISSING, UNCHECKED = "unchanged", "changed", "missing", "not checked"
NOT_KEPT = "computed, not kept"
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
    configuration: dict[str, object] = field(default_factory=dict)
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

    def product(self, path: Path, kind: str, attributes: Notes) -> Product:
        """A product with its inputs, theirs, and so on."""
        # Known before its inputs are followed: a product that names itself is not followed again.
        self._products.setdefault(path.resolve(), None)
        configuration = decoded(path, attributes.get("configuration"))
        hashes = decoded(path, attributes.get("input_hashes"))
        versions = attributes.get("environment")
        links = [self._link(path, configuration, n, str(h)) for n, h in hashes.items()]
        return Product(
            path=path,
            kind=kind,
            version=str(attributes.get("climsim_version", "")),
            revision=str(attributes.get("git_revision", "")),
            configuration=configuration,
            environment={n: str(v) for n, v in decoded(path, versions).items()},
            inputs=tuple(links),
        )

    def _link(
        self, product: Path, configuration: Mapping[str, object], name: str, recorded: str
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
        self, product: Path, configuration: Mapping[str, object], name: str, recorded: str
    ) -> Path | None:
        """An input by the path that the product names, from its folder up, or by its identity."""
        flat = flatten(dict(configuration))
        named = [v for k, v in flat.items() if k == name or k.endswith(f".{name}")]
        named += [
            p for v in flat.values() if isinstance(v, list) for p in v if Path(str(p)).stem == name
        ]
        named += [v for v in flat.values() if isinstance(v, str) and Path(v).name == name]
        named += _entry_of_list(flat, name)
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


def _unnamed(configuration: Mapping[str, object], role: str) -> bool:
    """Whether the settings have a key for an input and it is empty: the command computed it."""
    flat = flatten(dict(configuration))
    given = [v for key, v in flat.items() if key == role or key.endswith(f".{role}")]
    return bool(given) and not any(given)


def _entry_of_list(flat: Mapping[str, object], name: str) -> list[object]:
    """The entry that a role such as ``rollouts.starts[0]`` names; none for other roles."""
    key, _, index = name.removesuffix("]").partition("[")
    values = flat.get(key)
    if not (index.isdecimal() and isinstance(values, list)):
        return []
    return values[int(index) : int(index) + 1]


def _code_files(flat: Mapping[str, object], name: str) -> list[str]:
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


def _read(path: Path) -> tuple[str, Notes | None]:
    """Kind of a product, and what it says about its making; None where it says nothing."""
    source = source_of(path)
    if source is None:
        return "file", None
    notes = source.made_by(path)
    return source.label, notes if path.is_dir() or "git_revision" in notes else None


def _identity(path: Path) -> tuple[str, ...] | None:
    """The hashes that an input can be known by; None where there is none to compare."""
    source = source_of(path)
    if source is not None:
        return source.identity(path)
    return (file_hash(path),) if path.is_file() else None


def _raw_identity(path: Path, configuration: Mapping[str, object]) -> tuple[str, ...] | None:
    """Identity of the step files as the preparation hashed them; None where it hashed less."""
    # Earlier versions hashed less: nothing of today compares with that.
    if "identity" not in configuration:
        return None
    # Here, not above: planning a preparation needs more than reading attributes.
    from climsim.data.store.config import PrepareConfig
    from climsim.data.store.prepare import make_plan

    try:
        config = build_config(PrepareConfig, {**configuration, "raw": str(path)})
        return (make_plan(config).digest,)
    except ClimSimError:
        return None


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
