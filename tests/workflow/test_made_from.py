"""Changed data and code bring jobs about again; what they do not continue is put aside."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from climsim.configuration import build_config, compose_config
from climsim.data.store.config import PrepareConfig
from climsim.data.store.opened import open_store
from climsim.data.store.prepare import prepare
from climsim.files import file_hash, write_json
from climsim.workflow import made_from as made_from_module
from climsim.workflow.job import progress_path, run_job, state_path
from climsim.workflow.jobs import PLAN, Job
from climsim.workflow.made_from import given_to, made_from, put_aside_if_other
from climsim.workflow.plan import plan_values
from tests.data.synthetic import START, STEP, write_record

STEPS_OF_RECORD = 12


@pytest.fixture
def raw(tmp_path):
    """A folder of two months, with one step file each, and a grid file."""
    for month in ("0001-02", "0001-03"):
        (tmp_path / "raw" / month).mkdir(parents=True)
        (tmp_path / "raw" / month / f"E3SM-MMF.mli.{month}-01-00000.nc").write_text(month)
    (tmp_path / "raw" / "ClimSim_low-res_grid-info.nc").write_text("grid")
    return tmp_path / "raw"


def digest(folder, job, *others):
    return plan_values(folder, [job, *others])[job.name]["digest"]


def of_raw(raw):
    settings = {"raw": str(raw), "store": "store.zarr"}
    return Job(
        "prepare", "prepare", "", product="store.zarr", inputs=(str(raw),), settings=settings
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: (raw / "0001-03" / "E3SM-MMF.mli.0001-03-02-00000.nc").write_text("new"),
        lambda raw: (raw / "0001-03" / "E3SM-MMF.mli.0001-03-01-00000.nc").unlink(),
        lambda raw: (raw / "0001-02" / "E3SM-MMF.mli.0001-02-01-00000.nc").write_text("other"),
        lambda raw: os.utime(raw / "0001-02" / "E3SM-MMF.mli.0001-02-01-00000.nc", (1.0, 1.0)),
        lambda raw: (raw / "ClimSim_low-res_grid-info.nc").write_text("another"),
    ],
    ids=["added", "removed", "replaced", "older", "other grid"],
)
def test_raw_data_that_change_are_prepared_again(tmp_path, raw, change):
    job = of_raw(raw)
    before = digest(tmp_path, job)
    (raw / "notes.txt").write_text("no data")
    assert digest(tmp_path, job) == before
    change(raw)
    assert digest(tmp_path, job) != before


def test_raw_data_that_are_gone_once_the_store_is_made_are_not_missed(tmp_path, raw):
    job = of_raw(raw)
    before = digest(tmp_path, job)
    (tmp_path / "logs").mkdir()
    put_aside_if_other(tmp_path, job, made_from(tmp_path, job, ()), 1.0)
    shutil.rmtree(raw)
    assert digest(tmp_path, job) == before


def test_store_stays_where_files_of_the_users_raw_data_are_gone(tmp_path, raw, monkeypatch):
    """The stage then says which, and what to do; a purge must not retrain every member."""
    job = of_raw(raw)
    (tmp_path / "logs").mkdir()
    (tmp_path / "store.zarr").mkdir()
    monkeypatch.setattr(made_from_module, "_has_lost_steps", lambda folder, job: True)
    put_aside_if_other(tmp_path, job, made_from(tmp_path, job, ()), 1.0)
    (raw / "0001-03" / "E3SM-MMF.mli.0001-03-01-00000.nc").unlink()
    put_aside_if_other(tmp_path, job, made_from(tmp_path, job, ()), 1.0)
    assert (tmp_path / "store.zarr").exists()
    moved = raw.rename(tmp_path / "other")
    job = of_raw(moved)
    put_aside_if_other(tmp_path, job, made_from(tmp_path, job, ()), 1.0)
    assert not (tmp_path / "store.zarr").exists()


def test_product_of_an_earlier_version_is_up_to_date(tmp_path, raw):
    """That version did not note what it was given, so nothing says that it changed."""
    job = of_raw(raw)
    (tmp_path / "logs").mkdir()
    now = made_from(tmp_path, job, ())
    del now["given"]
    put_aside_if_other(tmp_path, job, now, 1.0)
    assert digest(tmp_path, job) == job.digest({})


def test_raw_data_that_another_job_makes_are_left_to_it(tmp_path, raw):
    job = Job("prepare", "prepare", "", inputs=("raw",), settings={"raw": "raw"})
    before = digest(tmp_path, job, Job("generate", "generate", "", output="x", product="raw"))
    (raw / "0001-03" / "E3SM-MMF.mli.0001-03-02-00000.nc").write_text("new")
    after = digest(tmp_path, job, Job("generate", "generate", "", output="x", product="raw"))
    assert after == before == job.digest({})


def of_code(file):
    settings = {"recipe": {"loss": f"{file}:own"}, "seed": 7}
    return Job("train-a", "train", "a", output="flag", product="members/a", settings=settings)


def test_training_is_up_to_date_only_while_the_code_that_it_names_is_the_same(tmp_path):
    code = tmp_path / "own.py"
    code.write_text("def own(): return 1\n")
    job = of_code(code)
    before = digest(tmp_path, job)
    os.utime(code, (1.0, 1.0))
    assert digest(tmp_path, job) == before
    code.write_text("def own(): return 2\n")
    assert digest(tmp_path, job) != before


def test_training_under_code_that_changed_is_put_aside(tmp_path):
    code = tmp_path / "own.py"
    code.write_text("def own(): return 1\n")
    job = of_code(code)
    product = tmp_path / "members" / "a"
    product.mkdir(parents=True)
    put_aside_if_other(tmp_path, job, made_from(tmp_path, job, ()), 1.0)
    put_aside_if_other(tmp_path, job, made_from(tmp_path, job, ()), 1.0)
    assert product.exists()
    code.write_text("def own(): return 2\n")
    put_aside_if_other(tmp_path, job, made_from(tmp_path, job, ()), 1.0)
    assert not product.exists()
    assert (tmp_path / "replaced" / "members" / "a").exists()


@pytest.mark.skipif(
    not os.access("/dev/shm", os.W_OK)
    or os.stat("/dev/shm").st_dev == os.stat(tempfile.gettempdir()).st_dev,
    reason="no second file system",
)
def test_training_on_another_disk_is_put_aside(tmp_path):
    code = tmp_path / "own.py"
    code.write_text("def own(): return 1\n")
    job = of_code(code)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as disk:
        (tmp_path / "members").symlink_to(disk)
        (Path(disk) / "a").mkdir()
        (Path(disk) / "a" / "best.ckpt").write_text("weights")
        put_aside_if_other(tmp_path, job, made_from(tmp_path, job, ()), 1.0)
        code.write_text("def own(): return 2\n")
        put_aside_if_other(tmp_path, job, made_from(tmp_path, job, ()), 1.0)
        assert list(Path(disk).iterdir()) == []
    assert (tmp_path / "replaced" / "members" / "a" / "best.ckpt").read_text() == "weights"


def test_training_of_an_earlier_version_which_did_not_note_its_code_is_continued(tmp_path):
    code = tmp_path / "own.py"
    code.write_text("def own(): return 1\n")
    job = of_code(code)
    (tmp_path / "members" / "a").mkdir(parents=True)
    now = made_from(tmp_path, job, ())
    earlier = {key: value for key, value in now.items() if key != "given"}
    write_json(tmp_path / "logs" / "train-a.made-from.json", earlier)
    put_aside_if_other(tmp_path, job, now, 1.0)
    assert (tmp_path / "members" / "a").exists()


def test_file_that_the_user_gives_counts_by_its_content(tmp_path):
    weights = tmp_path / "weights.ckpt"
    weights.write_text("x")
    settings = {"data": {"store": "store.zarr"}, "trainer": {"warm_start": str(weights)}}
    job = Job("train-a", "train", "a", inputs=("store.zarr",), settings=settings)
    assert given_to(tmp_path, job, ("store.zarr",)) == {str(weights): file_hash(weights)}


@pytest.mark.parametrize(
    ("days", "share", "kept"),
    [(12.0, 1.0, True), (10.0, 1.0, True), (6.0, 0.5, True), (6.0, 1.0, False), (4.0, 0.5, False)],
)
def test_data_longer_than_the_settings_now_ask_for_are_put_aside(tmp_path, days, share, kept):
    job = Job("generate", "generate", "", product="raw", settings={"days": 10.0})
    (tmp_path / "raw").mkdir()
    put_aside_if_other(tmp_path, job, {"settings": {"days": 10.0}, "inputs": {}}, 0.0)
    put_aside_if_other(tmp_path, job, {"settings": {"days": days}, "inputs": {}}, share)
    assert (tmp_path / "raw").exists() == kept
    assert (tmp_path / "replaced" / "raw").exists() != kept


@pytest.mark.parametrize(
    ("note", "progress", "kept"),
    [
        ({"code": 0, "finished": 2.0}, None, False),
        ({"code": 130, "finished": 2.0}, {"done": 40, "total": 100}, True),
        ({"code": 130, "finished": 2.0}, {"done": 80, "total": 100}, False),
        ({"code": 1, "finished": 2.0}, None, True),
    ],
    ids=["complete", "interrupted before", "interrupted after", "never begun"],
)
def test_run_that_was_interrupted_may_end_earlier_than_planned(
    tmp_path, stand_in, note, progress, kept
):
    def plan(days):
        job = Job(
            "generate", "generate", "", ("raw=raw", "generate"), "flag", "raw", (), {"days": days}
        )
        write_json(tmp_path / PLAN, {"jobs": {job.name: vars(job)}})

    plan(10.0)
    assert run_job(tmp_path, "generate", stand_in) == 0
    write_json(state_path(tmp_path, "generate"), {"started": 1.0, "host": "x", "pid": 1, **note})
    if progress:
        write_json(progress_path(tmp_path, "generate"), progress)
    plan(5.0)
    assert run_job(tmp_path, "generate", stand_in) == 0
    assert (tmp_path / "replaced" / "raw").exists() != kept


@pytest.mark.parametrize(
    ("later", "kept"), [(range(STEPS_OF_RECORD + 6), True), (range(4, STEPS_OF_RECORD + 6), False)]
)
def test_store_is_put_aside_where_the_study_made_raw_data_without_some_of_its_steps(
    tmp_path, later, kept
):
    write_record(tmp_path / "raw", STEPS_OF_RECORD)
    splits = ["split.train=0.6", "split.validation=0.2", "split.test=0.2", "split.gap_days=0"]
    paths = [f"raw={tmp_path / 'raw'}", f"store={tmp_path / 'store.zarr'}"]
    values = compose_config("prepare", [*paths, *splits, "workers=1"])
    config = build_config(PrepareConfig, values)
    prepare(config)
    settings = {**values, "raw": "raw", "store": "store.zarr"}
    job = Job("prepare", "prepare", "", product="store.zarr", inputs=("raw",), settings=settings)
    put_aside_if_other(tmp_path, job, made_from(tmp_path, job, ("raw",)), 1.0)
    shutil.rmtree(tmp_path / "raw")
    write_record(tmp_path / "raw", list(later))
    put_aside_if_other(tmp_path, job, made_from(tmp_path, job, ("raw",)), 1.0)
    assert (tmp_path / "store.zarr").exists() == kept
    assert (tmp_path / "replaced" / "store.zarr").exists() != kept
    prepare(config)
    assert open_store(config.store).times[0] == START + later[0] * STEP
    assert open_store(config.store).n_steps == len(later)
