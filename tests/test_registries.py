"""One registry for everything that is found by name."""

from __future__ import annotations

from importlib import metadata

import pytest

from climsim.errors import ClimSimError
from climsim.registry import Registry

GROUP = "climsim.things"


def adapted(name, thing):
    """A text of a user as an entry."""
    if not isinstance(thing, str):
        raise ClimSimError(f"thing {name!r}: expected a text, found {type(thing).__name__}")
    return thing.upper()


@pytest.fixture
def things():
    registry = Registry("thing", entry_points=GROUP, adapt=adapted)
    registry.add("plain", "PLAIN", "package.module")
    return registry


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that offers two things."""
    (tmp_path / "offered_things.py").write_text("FIRST = 'first'\nCOUNT = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = metadata.EntryPoints(
        metadata.EntryPoint(name, f"offered_things:{name.upper()}", GROUP)
        for name in ("first", "count")
    )
    monkeypatch.setattr(metadata, "entry_points", lambda **which: points.select(**which))


def test_an_entry_is_found_by_its_name(things):
    assert things.find("plain") == "PLAIN"
    assert "plain" in things
    assert list(things) == ["plain"]


def test_unknown_name_lists_shipped_and_installed_entries(things, installed):
    with pytest.raises(
        ClimSimError, match=r"^unknown thing 'none': expected one of count, first, plain$"
    ):
        things.find("none")


def test_unknown_name_names_the_one_that_it_resembles(things):
    with pytest.raises(ClimSimError, match=r"expected one of plain: did you mean plain\?$"):
        things.find("plian")


def test_second_entry_of_a_name_is_refused_with_both_origins(things):
    with pytest.raises(
        ClimSimError, match=r"thing 'plain': registered twice, by package\.module and other:"
    ):
        things.add("plain", "other", "other")
    assert things.find("plain") == "PLAIN"


def test_entry_of_an_installed_package_is_adapted(things, installed):
    assert things.find("first") == "FIRST"
    assert "first" in things.names()
    assert "first" not in things
    with pytest.raises(ClimSimError, match="thing 'count': expected a text, found int"):
        things.find("count")


def test_entry_of_a_file_is_adapted(things, tmp_path):
    path = tmp_path / "own.py"
    path.write_text("MINE = 'mine'\n")
    assert things.find(f"{path}:MINE") == "MINE"
    with pytest.raises(ClimSimError, match=r"own\.py: expected the thing 'YOURS', found nothing"):
        things.find(f"{path}:YOURS")
    with pytest.raises(
        ClimSimError, match=r"thing=.*: expected the name of the thing after the file"
    ):
        things.find(str(path))


def test_registry_without_an_adapter_takes_no_code_of_users(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("raise SystemExit\n")
    registry = Registry("thing")
    registry.add("plain", 1)
    with pytest.raises(ClimSimError, match=r"unknown thing .*expected one of plain"):
        registry.find(f"{path}:MINE")


def test_modules_of_a_package_are_imported_at_the_first_look_up(tmp_path, monkeypatch):
    folder = tmp_path / "many_things"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from climsim.registry import Registry\nTHINGS = Registry('thing', package='many_things')\n"
    )
    for name in ("a", "b"):
        text = f"from many_things import THINGS\nTHINGS.add({name!r}, {name.upper()!r})\n"
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    from many_things import THINGS

    assert THINGS._entries == {}
    assert THINGS.shipped() == {"a": "A", "b": "B"}


def test_lazy_entry_is_imported_when_it_is_looked_up_and_no_other(tmp_path, monkeypatch):
    folder = tmp_path / "lazy_things"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "a.py").write_text("THING = 1\n")
    (folder / "broken.py").write_text("raise RuntimeError\n")
    (folder / "base.py").write_text("raise RuntimeError\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = Registry(
        "thing",
        package="lazy_things",
        entry_of=lambda module: (module.__name__.rpartition(".")[2], module.THING),
        leave_out=("base",),
        lazy=True,
    )
    assert registry.names() == ("a", "broken")
    assert registry.find("a") == registry.find("a") == 1
    with pytest.raises(ClimSimError, match="unknown thing 'base': expected one of a, broken"):
        registry.find("base")
