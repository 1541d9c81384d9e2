"""A recording stand-in for the command line, and a folder for a study that calls it."""

import stat
import sys

import pytest

from climsim.workflow import run

STAND_IN = '''#!{python}
"""Record the call; make the product of the stage; fail, wait or die where a file asks for it."""
import os, pathlib, signal, sys, time
def wait():
    asks = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, asks)
    return signal.sigtimedwait(asks, 120) is not None

words = [a for a in sys.argv[3:] if "=" not in a and not a.startswith(("-", "/"))]
keys = dict(a.split("=", 1) for a in sys.argv[3:] if "=" in a)
with open("calls.txt", "a") as log:
    log.write(" ".join(sys.argv[3:]) + "\\n")
member = keys.get("case") or pathlib.Path(keys.get("out") or keys.get("raw", "")).stem
for job in (words[-1], words[-1] + "-" + member):
    if pathlib.Path("../fail-" + job).exists():
        print("climsim: error: asked to fail")
        sys.exit(1)
    if pathlib.Path("../wait-" + job).exists():
        print("climsim: error: stopped", flush=True) if wait() else None
        sys.exit(130)
    if pathlib.Path("../eat-" + job).exists():
        eaten = b"x" * (600 << 20)
        time.sleep(120)
    if pathlib.Path("../kill-" + job).exists():
        os.killpg(os.getpgid(0), signal.SIGKILL)
product = {{"generate": "raw", "collect": "raw", "prepare": "store", "train": "out"}}.get(words[-1])
product = product or ("folder" if words[0] == "online" else "out")
path = pathlib.Path(keys[product])
if path.suffix in (".nc", ".pt", ".html"):
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint = pathlib.Path(keys.get("checkpoint", "none"))
    made_from = checkpoint.parent / "content"
    path.write_text(made_from.read_text() if made_from.exists() else "x")
else:
    path.mkdir(parents=True, exist_ok=True)
    (path / "content").write_text("\\n".join(sys.argv))
'''


@pytest.fixture
def stand_in(tmp_path):
    script = tmp_path / "stand-in"
    script.write_text(STAND_IN.format(python=sys.executable))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


@pytest.fixture
def folder(tmp_path, monkeypatch, stand_in):
    monkeypatch.setattr(run, "stage_interpreter", lambda: stand_in)
    return tmp_path / "study"
