"""A SLURM cluster of one node, this machine, in a temporary folder: to try commands and to test.

    python scripts/slurm_node.py sbatch --wait --wrap "hostname"
    python scripts/slurm_node.py bash

Starts the daemons, runs the command with the environment that finds them, and stops them. Needs
root and the programs of Debian's packages slurm-wlm and munge. The node claims more cores and
memory than the machine has, so that jobs of any size fit. Memory is watched by polling, as control
groups may not be there; there is no accounting, so states come from squeue.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "srun")
"""What has to be installed."""
CORES, MEMORY_MB = 64, 256_000
_PATIENCE = 60.0
"""Time that the node has to come up [s]."""
_SETTINGS = """\
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MessageTimeout=100
MinJobAge=86400
OverTimeLimit=0
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory}
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no cluster can be started here; empty where one can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)}: install slurm-wlm and munge"
    return "" if os.geteuid() == 0 else "the daemons of SLURM need root"


@contextlib.contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """Run a cluster of one node.

    Args:
        folder: empty, for its state and logs.

    Yields:
        Variables of the environment with which SLURM's commands find it.

    Raises:
        RuntimeError: if the node does not come up; the message holds the end of its log.
    """
    environment = {"SLURM_CONF": str(_configure(folder))}
    environment["PATH"] = f"{_own_srun(folder, environment['SLURM_CONF'])}:{os.environ['PATH']}"
    with contextlib.ExitStack() as running:
        for command in _daemons(folder):
            running.enter_context(_daemon(command, folder, environment))
        _wait_until_idle(folder, environment)
        yield environment


def _configure(folder: Path) -> Path:
    """Write the settings of the cluster and the key of its authentication."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(128))
    settings = folder / "slurm.conf"
    text = _SETTINGS.format(
        host=socket.gethostname().partition(".")[0],
        ports=_free_ports(2),
        folder=folder,
        cores=CORES,
        memory=MEMORY_MB,
    )
    settings.write_text(text)
    return settings


def _own_srun(folder: Path, settings: str) -> Path:
    """Folder of an ``srun`` that finds the cluster in jobs too: Snakemake drops ``SLURM_CONF``."""
    programs = folder / "programs"
    programs.mkdir()
    script = programs / "srun"
    real = shutil.which("srun")
    script.write_text(f'#!/bin/sh\nSLURM_CONF={shlex.quote(settings)} exec {real} "$@"\n')
    script.chmod(0o755)
    return programs


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _daemons(folder: Path) -> list[list[str]]:
    """Commands of the daemons, which stay in the foreground."""
    names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
    places = [f"--{option}={folder}/munge.{ending}" for option, ending in names.items()]
    return [
        ["munged", "--foreground", "--force", f"--log-file={folder}/munge.log", *places],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    ]


@contextlib.contextmanager
def _daemon(command: Sequence[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a daemon as long as the context lasts."""
    with (folder / f"{command[0]}.out").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, **environment}
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_idle(folder: Path, environment: dict[str, str]) -> None:
    """Wait until the node takes jobs."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        asked = ["sinfo", "--noheader", "--format=%T"]
        done = subprocess.run(
            asked, capture_output=True, text=True, env={**os.environ, **environment}
        )
        if done.stdout.split()[:1] == ["idle"]:
            return
        time.sleep(0.2)
    logs = [
        p for name in ("munge.log", "slurmctld.log", "slurmd.log") if (p := folder / name).exists()
    ]
    ends = "\n".join(f"{path.name}: {path.read_text()[-800:]}" for path in logs)
    raise RuntimeError(f"the node did not come up within {_PATIENCE:g} s\n{ends}")


def main(arguments: Sequence[str]) -> int:
    """Run a command beside a cluster of one node."""
    reason = missing() if arguments else "expected a command, found none"
    if reason:
        sys.stderr.write(f"slurm_node: error: {reason}\n")
        return 1
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, one_node(Path(folder)) as found:
        return subprocess.run(arguments, env={**os.environ, **found}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
