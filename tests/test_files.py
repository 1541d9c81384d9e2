import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from climsim import files
from climsim.errors import ClimSimError
from climsim.files import require_apart


def test_atomic_path_keeps_the_old_file_when_the_block_fails(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ValueError, match="boom"), files.atomic_path(target) as temporary:
        temporary.write_text("half")
        raise ValueError("boom")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_atomic_path_replaces_a_folder_whole(tmp_path):
    target = tmp_path / "store"
    for content in ("one", "two"):
        with files.atomic_path(target) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [p.name for p in target.iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("there", [True, False])
def test_atomic_path_replaces_what_a_link_leads_to_and_leaves_the_link(tmp_path, there):
    (tmp_path / "other_disk").mkdir()
    target, link = tmp_path / "other_disk" / "store", tmp_path / "link"
    link.symlink_to("other_disk/store")
    if there:
        target.mkdir()
        (target / "old").touch()
    with files.atomic_path(link) as temporary:
        assert temporary.parent == target.parent
        temporary.mkdir()
        (temporary / "new").touch()
    assert link.readlink() == Path("other_disk/store")
    assert [p.name for p in target.iterdir()] == ["new"]
    assert [p.name for p in target.parent.iterdir()] == ["store"]
    (tmp_path / "note").symlink_to(target / "new")
    files.write_text(tmp_path / "note", "text")
    assert (target / "new").read_text() == "text"


def test_full_disk_is_one_clear_line(tmp_path):
    with (
        pytest.raises(ClimSimError, match=r"a\.nc: the disk is full .* nothing already written"),
        files.atomic_path(tmp_path / "a.nc"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), RuntimeError("pos")])
def test_full_disk_is_found_out_however_a_library_words_it(tmp_path, monkeypatch, error):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage)
    with (
        pytest.raises(ClimSimError, match=r"a\.nc: the disk is full"),
        files.atomic_path(tmp_path / "a.nc"),
    ):
        raise error


def test_write_of_torch_beyond_a_quota_says_what_to_look_at(tmp_path):
    with (
        pytest.raises(ClimSimError, match=r"a\.ckpt: could not be written \(.*your quota"),
        files.atomic_path(tmp_path / "a.ckpt"),
    ):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 142912")


def test_killed_writer_leaves_the_old_product_and_the_next_write_cleans_up(tmp_path):
    target = tmp_path / "product.txt"
    target.write_text("old")
    code = f"""
        import time
        from climsim.files import atomic_path
        with atomic_path({str(target)!r}) as temporary:
            temporary.write_text("half")
            print("ready", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    time.sleep(0.05)
    files.write_text(target, "new")
    assert target.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["product.txt"]


def unfinished(path, machine, pid):
    """A product that a writer on a machine has begun."""
    begun = path.with_name(f"{files.TEMPORARY_PREFIX}{path.name}-{machine}-{pid}-0123abcd")
    begun.write_text("half")
    return begun


@pytest.fixture
def ended():
    """Number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_write_leaves_what_another_machine_writes_alone_for_a_week(tmp_path, ended, monkeypatch):
    target = tmp_path / "a.txt"
    begun = unfinished(target, "node7.cluster_4026531836", ended)
    files.write_text(target, "new")
    assert begun.read_text() == "half"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 8 * 86400)
    files.write_text(target, "new")
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("other", ["a-b", "a-b.nc", "a-1"])
def test_write_leaves_what_is_written_under_a_longer_name_alone(tmp_path, other):
    with files.atomic_path(tmp_path / other) as theirs:
        theirs.write_text("half")
        files.write_text(tmp_path / "a", "new")
        assert theirs.read_text() == "half"


def test_write_removes_what_an_ended_process_of_this_machine_left_whatever_the_name(
    tmp_path, ended
):
    target = tmp_path / "a-[1].txt"
    unfinished(target, files._machine(), ended)
    files.write_text(target, "new")
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


def test_two_writers_of_one_process_do_not_share_a_temporary_name(tmp_path):
    with files.atomic_path(tmp_path / "a") as one, files.atomic_path(tmp_path / "a") as other:
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a").read_text() == "one"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_old_folder_whose_removal_was_killed_goes_at_the_next_write(tmp_path):
    target = tmp_path / "store"
    code = f"""
        import os, signal
        from climsim import files
        files.remove = lambda path: path.exists() and os.kill(os.getpid(), signal.SIGKILL)
        for content in ("one", "two"):
            with files.atomic_path({str(target)!r}) as temporary:
                temporary.mkdir()
                (temporary / content).touch()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [p.name for p in target.iterdir()] == ["two"]
    assert len(list(tmp_path.iterdir())) == 2
    with files.atomic_path(target) as temporary:
        temporary.mkdir()
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_hash_of_a_folder_depends_on_names_and_contents(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text("same")
    assert files.file_hash(tmp_path / "x") == files.file_hash(tmp_path / "y")
    (tmp_path / "y" / "f").rename(tmp_path / "y" / "g")
    assert files.file_hash(tmp_path / "x") != files.file_hash(tmp_path / "y")


def test_read_json_names_the_file(tmp_path):
    with pytest.raises(ClimSimError, match=r"record\.json: no such file"):
        files.read_json(tmp_path / "record.json")
    (tmp_path / "record.json").write_text("{half")
    with pytest.raises(ClimSimError, match=r"record\.json: expected JSON"):
        files.read_json(tmp_path / "record.json")


def _spelled(folder, how):
    """Another path to a folder that is there."""
    link = folder.with_name("link")
    if how == "link":
        link.symlink_to(folder)
        return link
    return {
        "same": folder,
        "slash": Path(f"{folder}/"),
        "relative": Path(os.path.relpath(folder)),
        "detour": folder / ".." / folder.name,
    }[how]


@pytest.mark.parametrize("how", ["same", "slash", "relative", "detour", "link"])
@pytest.mark.parametrize("there", [True, False])
def test_one_place_is_refused_under_two_keys_however_it_is_spelled(tmp_path, how, there):
    folder = tmp_path / "run"
    if there:
        folder.mkdir()
    with pytest.raises(ClimSimError) as caught:
        require_apart({"runs": (tmp_path / "b", folder), "reference": _spelled(folder, how)}, "why")
    found = _spelled(folder, how) if how != "link" else tmp_path / "link"
    assert str(caught.value) == (
        f"reference={found}: expected another place than runs={folder}, found the same: why"
    )


def test_places_apart_are_taken_and_none_is_none(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    require_apart({"runs": (tmp_path / "a", tmp_path / "b"), "reference": None})
    with pytest.raises(ClimSimError, match=r"runs=.*/a: .* runs=.*/a, found .*: give each once"):
        require_apart({"runs": (tmp_path / "a", tmp_path / "b", tmp_path / "b" / ".." / "a")})
