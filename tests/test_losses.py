"""Losses of the recipes against values worked by hand."""

import pytest
import torch

from climsim.configuration import build_config, compose_config
from climsim.errors import ClimSimError
from climsim.losses import LOSSES, RecipeLoss, elementwise_loss, recorded_loss
from climsim.training.config import TrainConfig
from climsim.variables import TARGETS

LEVELS = 3
SIZE = TARGETS.size(LEVELS)
BY_HAND = {"huber": (0.125, 2.5), "mse": (0.25, 9.0), "l1": (0.5, 3.0)}
"""Each loss at errors of 0.5 and 3."""


def vectors(**errors):
    """Prediction and target of one column whose only errors are at the given positions."""
    target = torch.linspace(-1, 1, SIZE)[None]
    prediction = target.clone()
    for position, error in errors.items():
        prediction[0, int(position.removeprefix("at"))] += error
    return prediction, target


@pytest.mark.parametrize("name", BY_HAND)
def test_elementwise_loss_has_its_hand_worked_values(name):
    errors = torch.tensor([0.5, -3.0])
    found = elementwise_loss(name)(errors, torch.zeros(2))
    torch.testing.assert_close(found, torch.tensor(BY_HAND[name]))


def test_huber_turns_into_a_line_at_delta():
    # Beyond delta = 2: 2 * (3 - 1) = 4.
    found = elementwise_loss("huber", 2.0)(torch.tensor([1.5, 3.0]), torch.zeros(2))
    torch.testing.assert_close(found, torch.tensor([1.125, 4.0]))


@pytest.mark.parametrize("name", BY_HAND)
def test_plain_loss_is_the_mean_over_all_features(name):
    terms = RecipeLoss(name, n_levels=LEVELS)(*vectors(at4=0.5, at16=3.0))
    expected = torch.tensor(sum(BY_HAND[name]) / SIZE)
    torch.testing.assert_close(terms.plain, expected)
    torch.testing.assert_close(terms.total, expected)


@pytest.mark.parametrize("name", BY_HAND)
def test_difference_loss_counts_an_error_at_both_its_neighbours(name):
    # An error of 0.5 in the middle level makes two differences wrong by 0.5, of 5 * 2 in all; an
    # error in a scalar makes none wrong.
    small, _ = BY_HAND[name]
    terms = RecipeLoss(name, difference=True, n_levels=LEVELS)(*vectors(at4=0.5, at16=3.0))
    extra = 2 * small / (5 * (LEVELS - 1))
    torch.testing.assert_close(terms.total - terms.plain, torch.tensor(extra))


def test_differences_do_not_cross_from_one_variable_to_the_next():
    # The last level of one profile and the first of the next: one difference each.
    terms = RecipeLoss("mse", difference=True, n_levels=LEVELS)(*vectors(at2=2.0, at3=-2.0))
    torch.testing.assert_close(terms.total - terms.plain, torch.tensor(8.0 / 10))


@pytest.mark.parametrize("name", BY_HAND)
def test_confidence_is_compared_with_the_loss_it_predicts(name):
    small, _ = BY_HAND[name]
    prediction, target = vectors(at4=0.5)
    confidence = torch.zeros(1, SIZE)
    confidence[0, 4] = small + 0.5
    confidence[0, 0] = 0.5
    terms = RecipeLoss(name, confidence=True, n_levels=LEVELS)(prediction, target, confidence)
    torch.testing.assert_close(terms.plain, torch.tensor(small / SIZE))
    torch.testing.assert_close(terms.total, torch.tensor((small + 2 * small) / SIZE))


def test_confidence_gives_the_prediction_no_gradient():
    prediction, target = vectors(at4=0.5)
    confidence = torch.zeros(1, SIZE)
    gradients = []
    for with_confidence in (False, True):
        leaf = prediction.clone().requires_grad_()
        loss = RecipeLoss(confidence=with_confidence, n_levels=LEVELS)
        loss(leaf, target, confidence).total.backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


def test_terms_compose():
    prediction, target = vectors(at4=0.5)
    confidence = torch.full((1, SIZE), 0.25)

    def total(**terms):
        loss = RecipeLoss(n_levels=LEVELS, **terms)
        return loss(prediction, target, confidence).total

    both = total(difference=True, confidence=True)
    parts = total(difference=True) + total(confidence=True) - total()
    torch.testing.assert_close(both, parts)


def test_confidence_without_a_head_is_refused():
    with pytest.raises(ClimSimError, match="expected a network with a confidence head"):
        RecipeLoss(confidence=True, n_levels=LEVELS)(*vectors())


def test_unknown_loss_lists_the_known():
    with pytest.raises(ClimSimError, match="'hubber': expected one of huber, l1, mse"):
        RecipeLoss("hubber")


def test_registering_a_name_twice_is_refused():
    with pytest.raises(ClimSimError, match="registered twice"):
        LOSSES.register("mse")(lambda delta: elementwise_loss("l1"))


OWN = """
import torch

def cubic(prediction, target):
    return (prediction - target).abs() ** 3

def mean(prediction, target):
    return (prediction - target).square().mean()

def detached(prediction, target):
    return (prediction - target).detach()

def failing(prediction, target):
    return prediction - target[:, :7]

def leaving(prediction, target):
    raise SystemExit(3)

power = 3
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own_loss.py"
    path.write_text(OWN)
    return path


def test_loss_of_a_file_stands_under_every_term(own):
    prediction, target = vectors(at4=0.5, at16=3.0)
    confidence = torch.full_like(target, 2.0)
    loss = RecipeLoss(f"{own}:cubic", difference=True, confidence=True, n_levels=LEVELS)
    terms = loss(prediction, target, confidence)
    assert terms.plain.item() == pytest.approx((0.125 + 27) / SIZE)
    # The error of a profile in its middle level gives two differences; the other is a scalar.
    difference = 2 * 0.125 / (len(TARGETS.profiles) * (LEVELS - 1))
    errors = torch.zeros(SIZE)
    errors[4], errors[16] = 0.125, 27
    expected = terms.plain.item() + difference + (2 - errors).abs().pow(3).mean().item()
    assert terms.total.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mean", r"one value per element, found shape \(\): do not take the mean"),
        ("detached", "without a gradient"),
        ("failing", "found RuntimeError: The size of tensor"),
        ("leaving", r"found SystemExit: it ends the program \(exit code 3\)"),
        ("power", "expected a function of prediction and target, found int"),
        ("square", "expected the loss 'square', found cubic, mean, detached, failing, lea"),
    ],
)
def test_loss_of_a_file_that_does_not_fit_is_one_line(name, message, own):
    with pytest.raises(ClimSimError, match=message) as error:
        RecipeLoss(f"{own}:{name}", n_levels=LEVELS)
    assert "\n" not in str(error.value)


def test_recipe_takes_the_loss_of_a_file(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    values = compose_config("train", ["recipe.loss=own_loss.py:cubic", "data.store=x", "out=y"])
    config = build_config(TrainConfig, values)
    assert config.recipe.loss == f"{own}:cubic"
    assert elementwise_loss(config.recipe.loss)(torch.tensor(2.0), torch.tensor(0.0)) == 8


def test_loss_that_a_model_names_is_never_code_of_a_file(tmp_path):
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef f(p, t): return p - t\n")
    with pytest.raises(ClimSimError, match="unknown loss in the metadata of a model"):
        recorded_loss(f"{evil}:f", 1.0)
    assert not (tmp_path / "ran").exists()
    assert recorded_loss("l1", 1.0)(torch.tensor(2.0), torch.tensor(0.0)) == 2
