"""Sweeps of the command line: one folder per run, one line per error."""

import subprocess
import sys

import pytest

from climsim.files import read_json

OUT = "out=runs/${network.name}-${seed}"


@pytest.fixture
def climsim_sweep(store_path, tmp_path):
    """Runs `climsim train -m` in an empty folder."""

    def run(*overrides):
        command = [sys.executable, "-m", "climsim", "train", "-m", "preset=small"]
        command += [f"data.store={store_path}", "trainer.epochs=1", "trainer.logger=none"]
        command += ["trainer.accelerator=cpu", "trainer.threads=1", "data.batch_size=64"]
        return subprocess.run(
            [*command, *overrides], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


def errors(result):
    """Lines of the error stream that are not log."""
    return [line for line in result.stderr.splitlines() if not line.startswith("INFO")]


@pytest.mark.slow
def test_sweep_trains_every_combination_in_its_own_folder(climsim_sweep, tmp_path):
    result = climsim_sweep("network=pure_resLSTM,convnext", "seed=7,43", OUT)
    assert result.returncode == 0, result.stderr
    assert errors(result) == []
    assert "train: 4 of 4 runs of the sweep done\n" in result.stdout
    trained = {p.parent.name: read_json(p) for p in tmp_path.glob("runs/*/training.json")}
    found = {
        name: (record["status"], record["config"]["network"]["name"], record["config"]["seed"])
        for name, record in trained.items()
    }
    assert found == {
        f"{network}-{seed}": ("complete", network, seed)
        for network in ("pure_resLSTM", "convnext")
        for seed in (7, 43)
    }
    losses = [record["result"]["validation_loss"] for record in trained.values()]
    assert len(set(losses)) == 4


def test_run_that_fails_is_one_line_and_leaves_the_others_alone(climsim_sweep, tmp_path):
    result = climsim_sweep(
        "network=pure_resLSTM", "data.batch_size=100000,64", OUT + "-${data.batch_size}"
    )
    assert result.returncode == 1
    (error,) = errors(result)
    assert "batch_size=100000" in error
    last = result.stdout.splitlines()[-1]
    assert last.startswith("train: 1 of 2 runs of the sweep done; failed: ")
    assert "data.batch_size=100000" in last
    assert (tmp_path / "runs/pure_resLSTM-7-64/best.ckpt").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sead=7,8", "unknown configuration key 'sead' of 'train': did you mean seed?"),
        ("network=unet,nothing", "unknown network 'nothing': expected one of convnext"),
        ("seed=7,[8", "seed=7,[8: cannot be read: expected matching brackets and quotes"),
        ("out=runs/a", r"out=runs/a: expected a separate path for every run of a sweep"),
    ],
)
def test_wrong_sweep_is_refused_in_one_line_before_anything_runs(override, message, climsim_sweep):
    result = climsim_sweep(override)
    assert result.returncode == 1
    (error,) = errors(result)
    assert message in error
    assert result.stdout == ""


@pytest.mark.parametrize("there", [True, False])
def test_configuration_of_a_sweep_that_cannot_be_read_is_one_line(climsim_sweep, tmp_path, there):
    folder = tmp_path / "mine"
    if there:
        (folder / "recipe").mkdir(parents=True)
        (folder / "recipe" / "bad.yaml").write_text("loss: [a\n")
    result = climsim_sweep("seed=1,2", "recipe=bad", OUT, "--config-dir", str(folder))
    assert result.returncode == 1
    (error,) = errors(result)
    assert ("bad.yaml, line 2: not valid YAML" if there else "mine: expected a folder") in error
