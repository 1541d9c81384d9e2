"""The namelists of a case, ``user_nl_eam``."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence

import f90nml

from climsim.hosts.e3sm.config import HYBRID, E3smConfig
from climsim.interfaces import V2, V6
from climsim.runs.streams import STREAMS
from climsim.variables import OUTPUTS, TARGETS

Value = bool | int | float | str
Group = dict[str, Value | Sequence[Value]]
"""A group of a namelist: values and lists by name."""
HISTORY_FIELDS = (
    *("PRECT", "PRECC", "FLUT", "CLOUD", "CLDTOT", "CLDLOW", "CLDMED", "CLDHGH", "LWCF", "SWCF"),
    *("LHFLX", "SHFLX", "TMQ", "U850", "T850", "Z850", "U500", "T500", "Z500", "T", "Q", "U", "V"),
    *("PS", "CLDICE", "CLDLIQ", "DTPHYS", "DQ1PHYS", "DQ2PHYS", "DQ3PHYS", "DUPHYS"),
)
"""Fields of every stream, as in the published namelist."""
CONFIDENCE_FIELDS = ("DTPHYSCONF", "DQ1PHYSCONF", "DQNPHYSCONF", "DUPHYSCONF")
"""Further fields under a model with a confidence head."""
SURFACE_FIELDS = ("LANDFRAC", "ICEFRAC", "OCNFRAC")
"""Fields beyond the published ones: what separates the kinds of rain."""
_TAPES = tuple(STREAMS)
"""Streams in the order of E3SM's tapes."""
_HOURS = {"h0": 0, "h1": -24, "h2": -1}
"""Averaging of a stream as E3SM's ``nhtfrq`` counts it: 0 months, negative hours."""
_AVERAGING = {"h0": "A", "h1": "A", "h2": "I"}
"""What a sample is in E3SM's ``avgflag_pertape``: an average, or the state at an instant."""


def _input_length(combination: str) -> int:
    return V6.variables.size() if combination == "v6" else V2.variables.size()


def _output_length(combination: str) -> int:
    size = OUTPUTS.size()
    return size + TARGETS.size() if combination.endswith("_conf") else size


def emulator_group(config: E3smConfig) -> Group:
    """The group ``mmf_nn_emulator_nl``: the model and the rules of its coupling.

    E3SM ramps only under partial coupling, and runs its physics only there, which coupling over
    the ocean alone needs; without a choice of variables, all are named.
    """
    options = config.coupler
    ramps = options.ramp != "constant" or options.ramp_factor != 1.0
    return {
        "inputlength": _input_length(config.combination),
        "outputlength": _output_length(config.combination),
        "input_rh": True,
        "cb_nn_var_combo": config.combination,
        "cb_torch_model": str(config.model),
        "cb_use_cuda": config.model_on_gpu,
        "cb_spinup_step": options.spinup_steps,
        "cb_partial_coupling": options.blends,
        "cb_partial_coupling_vars": list(options.partial_variables or OUTPUTS.names),
        "cb_do_ramp": ramps,
        "cb_ramp_option": options.ramp,
        "cb_ramp_factor": options.ramp_factor,
        "cb_ramp_linear_steps": options.ramp_linear_steps,
        "cb_ramp_step_0steps": options.ramp_step_0steps,
        "cb_ramp_step_1steps": options.ramp_step_1steps,
        "cb_strato_water_constraint": options.strato_water,
    }


def perturbation_group(config: E3smConfig) -> Group:
    """Noise on the start temperature, by seed where one is given; of the group ``cam_inparm``.

    Source: E3SM, ``components/eam/src/control/runtime_opts.F90`` and
    ``dynamics/se/inidat.F90``: T (1 + x), x uniform between -pertlim and pertlim; the generator
    is seeded with the number of the element, exclusive-or ``seed_custom`` where that is above 0.
    """
    group: Group = {"pertlim": config.perturbation}
    if config.seed is not None:
        # E3SM's own generator: the noise of a seed is the same on every machine and compiler.
        group |= {"new_random": True, "seed_custom": config.seed, "seed_clock": False}
    return group


def history_group(config: E3smConfig) -> Group:
    """The group ``cam_history_nl``: fields, averaging and files of the streams."""
    full = [*HISTORY_FIELDS, *SURFACE_FIELDS]
    if config.purpose == HYBRID and config.combination.endswith("_conf"):
        full += CONFIDENCE_FIELDS
    # E3SM names files by the number of their tape, so those before the last are written too.
    tapes = _TAPES[: 1 + max(_TAPES.index(stream) for stream in config.streams)]
    group: Group = {}
    for number, stream in enumerate(tapes, start=1):
        chosen = config.hourly_fields if stream == "h2" else ()
        group[f"fincl{number}"] = list(chosen) or full
    group["avgflag_pertape"] = [_AVERAGING[s] for s in tapes]
    group["nhtfrq"] = [_HOURS[s] for s in tapes]
    group["mfilt"] = [config.hourly_samples if s == "h2" else 1 for s in tapes]
    return group


def namelists(config: E3smConfig) -> f90nml.Namelist:
    """Every group of ``user_nl_eam``."""
    groups: dict[str, Group] = {
        "phys_ctl_nl": {"state_debug_checks": config.debug_checks},
        "radiation": {"do_aerosol_rad": False},
    }
    if config.purpose == HYBRID:
        groups["mmf_nn_emulator_nl"] = emulator_group(config)
    if config.perturbation:
        groups["cam_inparm"] = perturbation_group(config)
    groups["cam_history_nl"] = history_group(config)
    # A plain dictionary would be sorted by name.
    return f90nml.Namelist(OrderedDict((n, OrderedDict(group)) for n, group in groups.items()))


def user_nl_eam(config: E3smConfig) -> str:
    """The text of ``user_nl_eam``."""
    listing = namelists(config)
    listing.indent = 1
    stream = io.StringIO()
    listing.write(stream)
    return stream.getvalue()
