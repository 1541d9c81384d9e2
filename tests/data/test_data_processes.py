"""The processes in the emulated term: from raw files into the store, and refused where they mix."""

from __future__ import annotations

from dataclasses import replace

import netCDF4
import pytest
import zarr

from climsim.data.raw.check import check
from climsim.data.raw.config import CheckConfig
from climsim.data.raw.emulated import settle_processes
from climsim.data.raw.steps import list_steps
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import make_plan, prepare
from climsim.data.store.splits import SplitConfig
from climsim.errors import ClimSimError
from climsim.processes import EMULATED_ATTRIBUTE
from tests.data.synthetic import write_record

THREE = frozenset({"radiation", "convection", "clouds"})
FOUR = THREE | {"turbulence"}
MIXED = (
    r"E3SM-MMF\.{tag}\.{name}\.nc: expected an emulated term of clouds, convection, radiation, "
    r"as {first} says, found one of clouds, convection, radiation, turbulence: keep data of "
    r"different host options apart"
)


def config(raw, **changes):
    values = {"split": SplitConfig(1.0, 0.0, 0.0), "workers": 1, "block_steps": 2, **changes}
    return PrepareConfig(raw, raw.parent / "store.zarr", **values)


def declare(path, value):
    with netCDF4.Dataset(path, "a") as file:
        file.setncattr(EMULATED_ATTRIBUTE, value)


def test_store_says_what_its_files_declare(tmp_path):
    write_record(tmp_path / "raw", 3, emulated_processes=THREE)
    with netCDF4.Dataset(list_steps(tmp_path / "raw")[0].after) as file:
        assert file.getncattr(EMULATED_ATTRIBUTE) == "clouds, convection, radiation"
    store = open_store(prepare(config(tmp_path / "raw")))
    assert store.emulated_processes == THREE
    attributes = zarr.open_group(store.path, mode="r").attrs
    assert attributes[EMULATED_ATTRIBUTE] == ["clouds", "convection", "radiation"]


def test_files_that_declare_none_make_the_store_of_former_versions(tmp_path):
    write_record(tmp_path / "raw", 3)
    plan = make_plan(config(tmp_path / "raw"))
    known = replace(plan, emulated_processes=THREE)
    assert plan.digest != known.digest
    assert plan.shard_settings != known.shard_settings
    assert EMULATED_ATTRIBUTE not in plan.shard_settings
    store = open_store(prepare(config(tmp_path / "raw")))
    assert store.emulated_processes == frozenset()
    assert EMULATED_ATTRIBUTE not in store.group.attrs


def test_folders_of_two_settings_are_refused_with_a_file_of_each(tmp_path):
    write_record(tmp_path / "raw", 2, emulated_processes=THREE)
    write_record(tmp_path / "more", [2, 3], emulated_processes=FOUR)
    first = list_steps(tmp_path / "raw")[0].before
    message = MIXED.format(tag="mli", name="0001-02-27-02400", first=first)
    with pytest.raises(ClimSimError, match=f"^{tmp_path}/more/.*{message}$"):
        prepare(config(tmp_path / "raw", also=(tmp_path / "more",)))
    assert not (tmp_path / "store.zarr").exists()


def test_file_of_another_setting_within_a_folder_is_named(tmp_path):
    write_record(tmp_path / "raw", 3, emulated_processes=THREE)
    declare(list_steps(tmp_path / "raw")[2].after, "clouds, convection, radiation, turbulence")
    message = MIXED.format(tag="mlo", name="0001-02-27-02400", first="its record")
    with pytest.raises(ClimSimError, match=message):
        prepare(config(tmp_path / "raw"))


def test_check_counts_files_of_another_setting_and_names_folders_of_two(tmp_path):
    raw = tmp_path / "raw"
    write_record(raw, 3, emulated_processes=THREE)
    assert check(CheckConfig(raw, workers=1)).ok
    declare(list_steps(raw)[1].before, "radiation")
    report = check(CheckConfig(raw, workers=1))
    assert [month.counts["processes"] for month in report.months] == [1]
    write_record(raw, [150], emulated_processes=FOUR)
    report = check(CheckConfig(raw, workers=1))
    assert not report.ok
    assert any("found one of clouds, convection, radiation, turb" in p for p in report.problems)


def test_process_that_is_unknown_is_named_with_its_file(tmp_path):
    write_record(tmp_path / "raw", 3)
    first = list_steps(tmp_path / "raw")[0].before
    declare(first, "radiation, chemistry")
    message = rf"{first.name}: emulated_processes: expected names among .*'radiation, chemistry'"
    with pytest.raises(ClimSimError, match=message):
        prepare(config(tmp_path / "raw"))
    report = check(CheckConfig(tmp_path / "raw", workers=1))
    assert [month.counts["processes"] for month in report.months] == [1]


def test_folders_that_declare_none_fit_those_that_do(tmp_path):
    write_record(tmp_path / "raw", 2)
    write_record(tmp_path / "more", [2, 3], emulated_processes=FOUR)
    store = open_store(prepare(config(tmp_path / "raw", also=(tmp_path / "more",))))
    assert store.emulated_processes == FOUR
    assert settle_processes(list_steps(tmp_path / "raw")) == frozenset()


def test_store_does_not_grow_by_steps_of_another_setting(tmp_path):
    raw = tmp_path / "raw"
    write_record(raw, [2, 3, 4, 5], emulated_processes=THREE)
    prepare(config(raw))
    # Before the others, in their folder: what is there already is compared with them again.
    write_record(raw, [0, 1], emulated_processes=FOUR)
    with pytest.raises(ClimSimError, match=r"02400\.nc: expected an emulated term of .*turbulence"):
        prepare(config(raw))
    assert open_store(tmp_path / "store.zarr").emulated_processes == THREE
