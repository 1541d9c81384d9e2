"""The embedded climate model, the default host: jcm's physics on a dinosaur grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from climsim.errors import ClimSimError
from climsim.online.hosts.base import Host


def build_host(options: Mapping[str, Any]) -> Host:
    """Build the embedded model.

    Args:
        options: keys and values of `climsim.online.hosts.gcm.host.GcmConfig`.

    Raises:
        ClimSimError: for an unknown key or a value out of range.
    """
    from climsim.online.hosts.gcm.host import GcmConfig, GcmHost

    known = GcmConfig.__dataclass_fields__
    unknown = [key for key in options if key not in known]
    if unknown:
        raise ClimSimError(
            f"host_options.{unknown[0]}: unknown key of the host gcm: expected one of "
            f"{', '.join(known)}"
        )
    return GcmHost(GcmConfig(**options))
