"""Cards of exported files and checkpoints: written, read back, refused where they do not fit."""

import json
from dataclasses import replace

import pytest

from climsim.cards import LossCard, ModelCard, TrainingCard
from climsim.checkpoint_cards import (
    CheckpointCard,
    NetworkCard,
    TrainingProgress,
    TransformsCard,
)
from climsim.constants import TIME_STEP
from climsim.errors import ClimSimError
from climsim.interfaces import V6

CARD = ModelCard(
    interface=V6,
    n_levels=24,
    confidence=True,
    time_step=1800.0,
    emulated_processes=frozenset({"radiation", "clouds"}),
    loss=LossCard("huber", 0.5, (2.0, 0.0)),
    training=TrainingCard("unet", "v6", 7, 2.5, "CPU"),
    members=(TrainingCard("unet", "v6", 7, 2.5, "CPU"),),
)


def again(card):
    return ModelCard.from_json(json.loads(json.dumps(card.to_json())), "model.pt")


def test_card_is_the_same_after_json():
    assert again(CARD) == CARD
    bare = ModelCard(time_step=1200.0)
    assert again(bare) == bare
    assert "emulated_processes" not in bare.to_json()
    assert CARD.to_json()["emulated_processes"] == ["clouds", "radiation"]


def test_sizes_follow_from_interface_levels_and_confidence():
    assert (CARD.n_inputs, CARD.n_outputs) == (25 * 24 + 19, (6 * 24 + 8) + (5 * 24 + 8))
    assert replace(CARD, confidence=False).n_outputs == 6 * 24 + 8


def test_names_may_stand_alone_or_in_a_part_of_their_own():
    values = {**ModelCard().to_json(), "network": "unet", "recipe": {"name": "v6"}, "seed": True}
    found = ModelCard.from_json(values, "model.pt").training
    assert found == TrainingCard("unet", "v6", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "expected format 1 in metadata.json, found 2: use the version"),
        ({"door": "v9"}, "expected a model with the interface v2 or v6 or raw.*found 'v9'"),
        ({"emulated_processes": ["chemistry"]}, r"^model\.pt: emulated_processes: expected names"),
        ({"n_levels": "many"}, "n_levels in metadata.json: expected a whole number >= 1"),
    ],
)
def test_card_that_cannot_be_read_says_why(changes, message):
    with pytest.raises(ClimSimError, match=message):
        ModelCard.from_json({**CARD.to_json(), **changes}, "model.pt")


def test_file_without_a_needed_key_is_refused():
    values = CARD.to_json()
    del values["n_inputs"]
    with pytest.raises(ClimSimError, match=r"model\.pt: expected n_inputs in metadata\.json"):
        ModelCard.from_json(values, "model.pt")


def checkpoint_card(**changes):
    return replace(
        CheckpointCard(
            network=NetworkCard("unet", "standard", False, 7, {"depth": 3}),
            transforms=TransformsCard("standard", 7, bounded=True, fill_to_zero=False),
            config={"recipe": {"loss": "huber"}},
            provenance={"git_revision": "cafe"},
        ),
        **changes,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "recipe": "conf_loss",
            "seed": 7,
            "statistics_hash": "abc",
            "time_step_s": 1800.0,
            "emulated_processes": frozenset({"turbulence", "clouds"}),
            "parameters": 12,
            "imported": True,
            "validation_loss": 0.25,
            "progress": TrainingProgress(3, 2, 41, 1.5, "2 x A100"),
        },
    ],
)
def test_card_of_a_checkpoint_is_the_same_after_json(changes):
    card = checkpoint_card(**changes)
    assert CheckpointCard.from_json(json.loads(json.dumps(card.to_json())), "a.ckpt") == card


def test_entry_of_a_checkpoint_keeps_its_flat_form():
    entry = checkpoint_card(progress=TrainingProgress(3, 2, 41, 1.5, "2 x A100")).to_json()
    assert entry["network"]["depth"] == 3
    assert (entry["format"], entry["epoch"], entry["training_hours"]) == (1, 3, 1.5)
    assert entry["training_device"] == "2 x A100"
    assert "statistics_hash" not in entry
    assert "emulated_processes" not in entry


def test_time_step_of_a_checkpoint_is_that_of_the_published_data_where_it_is_not_known():
    assert checkpoint_card().time_step == TIME_STEP
    assert checkpoint_card(time_step_s=1800.0).time_step == 1800.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "a.ckpt: expected checkpoint format 1, found 2"),
        ({"seed": "seven"}, 'wrong value type for field "seed"'),
        ({"epoch": 3}, 'missing value for field "progress.batches"'),
        ({"network": 5}, "wrong value type"),
        ({"emulated_processes": "rain"}, r"^a\.ckpt: emulated_processes: expected names among"),
    ],
)
def test_card_of_a_checkpoint_of_another_form_is_refused(changes, message):
    with pytest.raises(ClimSimError, match=message):
        CheckpointCard.from_json(checkpoint_card().to_json() | changes, "a.ckpt")
