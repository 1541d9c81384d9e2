"""What the operating system refuses is one line with a remedy."""

import errno
import fcntl
import os
import subprocess
import sys
import threading

import pytest

from climsim import cli, plugins
from climsim.errors import ClimSimError
from climsim.files import read_json, write_json
from climsim.locks import LOCK_NAME, held, only_process
from climsim.system import refusal


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "a.nc: the disk is full: free some space"),
        (errno.EROFS, "a.nc: the file system is read-only: choose another folder"),
        (errno.EACCES, r"a.nc: no permission \(the file may be whole\)"),
        (errno.EMFILE, "a.nc: too many files are open"),
        (errno.ENOTDIR, "a.nc: a part of this path is a file"),
    ],
)
def test_errors_of_the_system_say_what_happened_and_what_to_do(number, text):
    error = OSError(number, os.strerror(number), "a.nc")
    assert refusal(error).args[0].startswith(text.replace("\\", ""))


def test_other_errors_are_left_alone():
    assert refusal(ValueError("x")) is None
    assert refusal(OSError("HDF error")) is None


def test_out_of_memory_names_the_remedy():
    for error in (
        MemoryError("Unable to allocate 40.0 GiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ):
        with pytest.raises(ClimSimError, match=r"out of memory \(.*\): use fewer workers"):
            raise refusal(error)


def test_removed_working_folder_is_named(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ClimSimError, match="the working folder was removed"):
        write_json("a.json", {})
    monkeypatch.chdir(tmp_path)


def test_file_without_permission_is_not_called_damaged(tmp_path, monkeypatch):
    from pathlib import Path

    def denied(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", denied)
    with pytest.raises(ClimSimError, match=r"a\.json: no permission \(the file may be whole\)"):
        read_json(tmp_path / "a.json")


def test_checkpoint_without_permission_is_not_called_damaged(tmp_path, monkeypatch):
    from climsim.training import checkpoint

    def denied(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "a.ckpt").touch()
    monkeypatch.setattr(checkpoint, "check_zip", denied)
    with pytest.raises(ClimSimError, match=r"a\.ckpt: no permission \(the file may be whole\)"):
        checkpoint.read_checkpoint(tmp_path / "a.ckpt")


def test_closed_pipe_ends_the_command_without_a_message():
    command = f"{sys.executable} -m climsim data variables | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert "rror" not in done.stderr


def test_full_output_is_one_line():
    command = f"{sys.executable} -m climsim data variables > /dev/full"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "climsim: error: the disk is full: free some space and run again"
    ]


def test_unexpected_error_of_the_system_is_explained(capsys):
    def action():
        raise OSError(errno.EROFS, "Read-only file system", "/mnt/a")

    assert cli.guarded(action, debug=False) == 1
    assert "error: /mnt/a: the file system is read-only" in capsys.readouterr().err


def test_second_process_is_refused_and_nothing_is_left_of_the_lock(tmp_path):
    path = tmp_path / "run" / LOCK_NAME
    with only_process(path, "run: another process trains here"):
        assert held(path)
        with (
            pytest.raises(ClimSimError, match="another process trains here: wait for it"),
            only_process(path, "run: another process trains here"),
        ):
            pass
        assert held(path)
    assert not path.parent.exists()


def test_process_that_only_looks_at_a_lock_keeps_nobody_from_the_work(tmp_path):
    path = tmp_path / LOCK_NAME
    path.touch()
    look = path.open()
    fcntl.flock(look, fcntl.LOCK_SH)
    threading.Timer(0.2, look.close).start()
    with only_process(path, "run: another process trains here"):
        assert look.closed
        assert held(path)


def test_lock_leaves_the_folders_that_were_there_and_no_others(tmp_path):
    (tmp_path / "mine").mkdir()
    with only_process(tmp_path / "mine" / "a" / "b" / LOCK_NAME, "another process"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
    with only_process(tmp_path / "mine" / "a" / "b" / LOCK_NAME, "another process"):
        (tmp_path / "mine" / "a" / "kept").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "kept", "mine"]


def test_file_without_the_name_of_a_class_lists_its_classes(tmp_path):
    path = tmp_path / "mlp.py"
    path.write_text("class Mlp: pass\ndef make(): pass\n")
    with pytest.raises(ClimSimError, match=r"network=.*mlp\.py:Name: give one of .*:Mlp, .*:make"):
        plugins.check_complete(str(path), "network")
    with pytest.raises(ClimSimError, match=r"after the file, as in none\.py:Name$"):
        plugins.check_complete("none.py", "network")


def test_module_of_the_user_that_exits_is_an_error(tmp_path):
    path = tmp_path / "leaves.py"
    path.write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(ClimSimError, match=r"leaves\.py: cannot be imported: SystemExit at line"):
        plugins.load_reference(f"{path}:Net", "network")
