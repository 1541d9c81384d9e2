"""The true loss of a step, against the loss that offline evaluation computes from vectors."""

import numpy as np

from climsim.losses import TrainingLoss, elementwise_loss
from climsim.online.coupler import split_output
from climsim.online.losses import true_losses
from climsim.physics.condensate import rearrange
from climsim.variables import OUTPUTS, TARGETS

LEVELS, COLUMNS = 5, 3


def test_loss_of_a_step_is_that_of_the_same_vectors_offline():
    generator = np.random.default_rng(2)
    size = TARGETS.size(LEVELS)
    scale = generator.uniform(1.0, 3.0, size)
    scale[7] = 0.0
    loss = TrainingLoss(scale, elementwise_loss("huber", 1.0))
    prediction, truth = generator.normal(size=(2, COLUMNS, OUTPUTS.size(LEVELS)))
    offline = loss(*(rearrange(x, OUTPUTS, TARGETS, LEVELS) for x in (prediction, truth)))
    network, physics = (split_output(x, LEVELS) for x in (prediction, truth))
    online = true_losses(loss, network, physics, LEVELS)
    assert set(online) == set(TARGETS.names)
    for name, values in TARGETS.fields(offline, LEVELS).items():
        np.testing.assert_array_equal(online[name], values.T)
    assert (offline[:, 7] == 0).all()
    assert offline.max() > 0.5
