"""SLURM's commands on one machine: sbatch runs the job scripts, sacct and squeue tell of them.

One file under many names. It keeps its jobs in the folder that FAKE_CLUSTER names, runs two of them
at a time, and remembers every call.
"""

import fcntl
import json
import os
import pathlib
import re
import subprocess
import sys
import time

FOLDER = pathlib.Path(os.environ["FAKE_CLUSTER"])
SLOTS = 2


def option(words, *names):
    for name in names:
        for number, word in enumerate(words):
            if word == name:
                return words[number + 1]
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
    return None


def states():
    jobs = [json.loads(path.read_text()) for path in sorted(FOLDER.glob("job-*.json"))]
    return sorted(jobs, key=lambda job: job["id"])


def note(job, **changes):
    path = FOLDER / f"job-{job['id']}.json"
    job.update(changes)
    path.with_suffix(".new").write_text(json.dumps(job))
    path.with_suffix(".new").rename(path)


def sbatch(words):
    wrapped = option(words, "--wrap")
    script = f"#!/bin/sh\n{wrapped}" if wrapped else sys.stdin.read()
    with (FOLDER / "counter").open("a+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.write("x")
        counter.flush()
        number = counter.tell()
    job = {
        "id": number,
        "name": option(words, "--job-name"),
        "state": "PENDING",
        "script": script,
        "output": option(words, "--output").replace("%j", str(number)),
        "words": words,
        "folder": option(words, "-D") or os.getcwd(),
    }
    note(job)
    subprocess.Popen(
        [sys.executable, __file__, "run", str(number)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    print(number)


def run(words):
    job = json.loads((FOLDER / f"job-{words[0]}.json").read_text())
    slots = [(FOLDER / f"slot-{number}").open("w") for number in range(SLOTS)]
    while True:
        for slot in slots:
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return execute(job)
        time.sleep(0.2)


def execute(job):
    output = pathlib.Path(job["output"])
    output.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "SLURM_JOB_ID": str(job["id"]), "SLURM_JOBID": str(job["id"])}
    with output.open("w") as stream:
        process = subprocess.Popen(
            ["sh", "-c", job["script"]],
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=job["folder"],
            env=environment,
            start_new_session=True,
        )
        note(job, state="RUNNING", group=process.pid)
        code = process.wait()
    note(job, state={0: "COMPLETED"}.get(code, "FAILED" if code > 0 else "OUT_OF_MEMORY"))


def sacct(words):
    name = option(words, "--name")
    for job in states():
        if name is not None and job["name"] == name:
            print(f"{job['id']}|{job['state']}")


def squeue(words):
    sacct(words)


def srun(words):
    while words and words[0].startswith("-"):
        words.pop(0)
    os.execvp(words[0], words)


def scancel(words):
    wanted = set(re.findall(r"\d+", " ".join(words)))
    for job in states():
        if str(job["id"]) in wanted and "group" in job and job["state"] == "RUNNING":
            os.killpg(job["group"], 15)
            note(job, state="CANCELLED")


def sacctmgr(words):
    print("lab")


def sinfo(words):
    print("cpu*")


def scontrol(words):
    print("MinJobAge               = 300 sec")


if __name__ == "__main__":
    name, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
    if name == pathlib.Path(__file__).name and words[0] == "run":
        name, words = "run", words[1:]
    with (FOLDER / "calls.txt").open("a") as calls:
        calls.write(" ".join([name, *words]) + "\n")
    globals()[name](words)
