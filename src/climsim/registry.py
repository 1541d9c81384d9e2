"""Objects of one kind by name: of the package, of installed packages, and of files of users.

One registry serves each kind that can be added without editing a list: networks, losses,
optimizers, schedules, and so on. Where its entries stand in the modules of one package, those are
found by looking into the folder, so adding an entry is adding a file there.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection, Iterator
from types import ModuleType
from typing import Generic, TypeVar

from climsim.errors import ClimSimError, unknown_name
from climsim.plugins import (
    check_complete,
    entry_point_names,
    is_reference,
    load_entry_point,
    load_reference,
)

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """The entries of one kind.

    Attributes:
        kind: what an entry is, for messages, such as ``"network"``.
    """

    def __init__(
        self,
        kind: str,
        *,
        package: str = "",
        entry_points: str = "",
        adapt: Callable[[str, object], Entry] | None = None,
        entry_of: Callable[[ModuleType], tuple[str, Entry]] | None = None,
        leave_out: Collection[str] = (),
        lazy: bool = False,
    ) -> None:
        """Say where entries come from; nothing is imported before the first look-up.

        Args:
            kind: what an entry is, for messages.
            package: package whose modules register entries when they are imported; empty where
                entries are registered by the module that holds the registry.
            entry_points: group of entry points in which installed packages offer entries.
            adapt: makes an entry from the name and the object of an entry point or of a reference
                ``path/to/file.py:Name``, and raises `ClimSimError` for an object of another kind;
                None where users cannot bring their own.
            entry_of: name and entry of a module of the package; None where modules register what
                they hold.
            leave_out: modules of the package without an entry.
            lazy: whether each entry has the name of its module, which is imported only when that
                entry is looked up.
        """
        self.kind = kind
        self._package = package
        self._entry_points = entry_points
        self._adapt = adapt
        self._entry_of = entry_of
        self._leave_out = frozenset(leave_out)
        self._lazy = lazy
        self._entries: dict[str, Entry] = {}
        self._origins: dict[str, str] = {}
        self._imported = False

    def add(self, name: str, entry: Entry, origin: str = "") -> Entry:
        """Register an entry of the package.

        Args:
            name: what users type.
            entry: the entry.
            origin: module that it comes from, for messages.

        Raises:
            ClimSimError: if the name is taken.
        """
        origin = origin or getattr(entry, "__module__", type(entry).__module__)
        if name in self._entries and self._entries[name] is not entry:
            raise ClimSimError(
                f"{self.kind} {name!r}: registered twice, by {self._origins[name]} and {origin}: "
                "give one of them another name"
            )
        self._entries[name] = entry
        self._origins[name] = origin
        return entry

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """Register a class or function of the package, as its decorator.

        Args:
            name: what users type.

        Raises:
            ClimSimError: if the name is taken.
        """
        return lambda entry: self.add(name, entry)

    def shipped(self) -> dict[str, Entry]:
        """Entries that are part of the package, which every machine knows, by name."""
        self._import_modules()
        return dict(self._entries)

    def names(self) -> tuple[str, ...]:
        """Names of all entries, those of installed packages included, sorted."""
        shipped = self._modules() if self._lazy else self.shipped()
        return tuple(sorted({*shipped, *self._offered()}))

    def everything(self) -> dict[str, Entry]:
        """All entries by name: of the package, then of installed packages.

        Raises:
            ClimSimError: if an entry of an installed package fails to load.
        """
        shipped = self.shipped()
        return {**shipped, **{n: self.find(n) for n in self._offered() if n not in shipped}}

    def find(self, name: str) -> Entry:
        """Look an entry up.

        Args:
            name: of an entry of the package, of an entry point, or ``path/to/file.py:Name``.

        Raises:
            ClimSimError: if the name is unknown (lists the known ones), its code fails to run, or
                it names something of another kind.
        """
        if not self._lazy:
            self._import_modules()
        elif name in self._modules():
            self._import(name)
        if name in self._entries:
            return self._entries[name]
        if self._adapt is not None:
            check_complete(name, self.kind)
            if is_reference(name):
                return self._adapt(name, load_reference(name, self.kind))
            if name in self._offered():
                return self._adapt(name, load_entry_point(self._entry_points, name))
        raise unknown_name(self.kind, name, self.names())

    def __contains__(self, name: object) -> bool:
        """Whether the package itself has an entry of that name."""
        return name in self.shipped()

    def __iter__(self) -> Iterator[str]:
        """Names of the entries of the package, in the order in which they were registered."""
        return iter(self.shipped())

    def _offered(self) -> tuple[str, ...]:
        return entry_point_names(self._entry_points) if self._entry_points else ()

    def _import_modules(self) -> None:
        if self._imported or not self._package:
            return
        for name in self._modules():
            self._import(name)
        self._imported = True

    def _modules(self) -> list[str]:
        """Names of the modules that hold entries; importing none of them."""
        package = importlib.import_module(self._package)
        found = (module.name for module in pkgutil.iter_modules(package.__path__))
        return [name for name in found if name not in self._leave_out]

    def _import(self, module_name: str) -> None:
        module = importlib.import_module(f"{self._package}.{module_name}")
        if self._entry_of is not None:
            name, entry = self._entry_of(module)
            self.add(name, entry, module.__name__)
