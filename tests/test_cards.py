"""The card of an exported file: written, read back, and refused where it does not fit."""

import json
from dataclasses import replace

import pytest

from climsim.cards import LossCard, ModelCard, TrainingCard
from climsim.errors import ClimSimError
from climsim.interfaces import V6

CARD = ModelCard(
    interface=V6,
    n_levels=24,
    confidence=True,
    time_step=1800.0,
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
        ({"door": "v9"}, "expected a model with the interface v2 or v6, found 'v9'"),
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
