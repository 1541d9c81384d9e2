"""The embedded climate model (jcm with ECHAM physics) behind the coupler's interface."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

from climsim.errors import unknown_name
from climsim.hosts.base import HostFactory, Options

if TYPE_CHECKING:
    from climsim.hosts.gcm.host import GcmHost


def build_host(options: Options) -> GcmHost:
    """Build the embedded model from its settings; see `GcmConfig` for the keys."""
    # Here, not above: planning a run needs none of jax.
    from climsim.hosts.gcm.config import GcmConfig
    from climsim.hosts.gcm.host import GcmHost
    from climsim.hosts.settings import build_settings

    known = [field.name for field in fields(GcmConfig)]
    for key in options:
        if key not in known:
            raise unknown_name("host option", str(key), known)
    return GcmHost(build_settings(GcmConfig, options))


HOST: Final[HostFactory] = build_host
