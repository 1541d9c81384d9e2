"""Stacked members whose radiation is called at the same steps.

The call stands under a condition. One that members do not share would run both its branches, and so
call the radiation at every step: they count their steps together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from climsim.hosts.gcm.state import Diagnostics

_RADIATION: Final = "radiation"


def radiation_step(carry: Diagnostics) -> int:
    """Steps that the radiation of one member has counted."""
    return int(carry[_RADIATION].step)


def called_at_once(carry: Diagnostics) -> Diagnostics:
    """A carry whose radiation is called at the next step."""
    import jax.numpy as jnp

    called = carry[_RADIATION].copy(step=jnp.zeros_like(carry[_RADIATION].step))
    return {**carry, _RADIATION: called}


def sharing_count(carries: Diagnostics) -> Diagnostics:
    """Stacked carries with one count for all members, that of the first."""
    step = carries[_RADIATION].step
    return {**carries, _RADIATION: carries[_RADIATION].copy(step=step.reshape(-1)[0])}


def counting_apart(carries: Diagnostics, members: int) -> Diagnostics:
    """Stacked carries in which every member has the count that all share."""
    import jax.numpy as jnp

    step = jnp.broadcast_to(carries[_RADIATION].step, (members,))
    return {**carries, _RADIATION: carries[_RADIATION].copy(step=step)}


def member_axes(carries: Diagnostics) -> Diagnostics:
    """Axis of the members in each leaf of carries that share their count, which has none."""
    import jax

    axes: Diagnostics = jax.tree.map(lambda _: 0, carries)
    return {**axes, _RADIATION: axes[_RADIATION].copy(step=None)}
