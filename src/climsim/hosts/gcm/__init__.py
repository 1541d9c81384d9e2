"""The embedded climate model (jcm with ECHAM physics) behind the coupler's seam."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from climsim.errors import unknown_name
from climsim.hosts.base import Host


def build_host(options: Mapping[str, Any]) -> Host:
    """Build the embedded model from its settings; see `GcmConfig` for the keys."""
    from climsim.hosts.gcm.config import GcmConfig
    from climsim.hosts.gcm.host import GcmHost

    known = [field.name for field in fields(GcmConfig)]
    for key in options:
        if key not in known:
            raise unknown_name("host option", str(key), known)
    return GcmHost(GcmConfig(**options))
