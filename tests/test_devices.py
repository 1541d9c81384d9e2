import pytest
import torch

from climsim.devices import torch_device
from climsim.errors import ClimSimError
from climsim.hosts.gcm.config import GcmConfig
from climsim.online.pairs_config import CollectConfig
from climsim.online.stages import COLLECT, ONLINE_RUN
from climsim.runs.config import RunConfig
from climsim.training.config import TrainerConfig


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda device: RunConfig("a", "f", 1.0, device=device), "device"),
        (lambda device: CollectConfig("f", 1, device=device), "device"),
        (lambda device: GcmConfig(device=device), "host_options.device"),
        (lambda device: TrainerConfig(accelerator=device), "trainer.accelerator"),
    ],
)
def test_every_key_of_a_device_takes_the_same_words(make, key):
    for device in ("auto", "cpu", "gpu"):
        make(device)
    with pytest.raises(ClimSimError, match=f"^{key}: 'cuda' was renamed: write gpu$"):
        make("cuda")
    with pytest.raises(ClimSimError, match=f"^{key}: expected one of auto, cpu, gpu, found 'tpu'"):
        make("tpu")


@pytest.mark.parametrize(
    ("wanted", "there", "found"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("gpu", True, "cuda")],
)
def test_torch_calls_a_device_by_its_own_word(monkeypatch, wanted, there, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert torch_device("device", wanted) == found


def test_gpu_that_torch_cannot_use_is_refused_by_key(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ClimSimError, match=r"^trainer\.accelerator: expected a GPU, found none"):
        torch_device("trainer.accelerator", "gpu")


@pytest.mark.parametrize("stage", [ONLINE_RUN, COLLECT])
def test_former_word_of_a_record_means_the_present_one(stage):
    words = [stage.present("device", word) for word in ("cuda", "cpu", "auto")]
    assert words == ["gpu", "cpu", "auto"]
    assert stage.present("case", "cuda") == "cuda"
