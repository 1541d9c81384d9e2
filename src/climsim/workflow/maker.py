"""Making the jobs of a study: the settings of each are composed and checked."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from climsim.cards import flatten
from climsim.configuration import MissingKeysError, compose_config, stage_config
from climsim.errors import ClimSimError
from climsim.export.config import TORCHSCRIPT
from climsim.export.stages import EXPORT
from climsim.keys import Values
from climsim.online.stages import ONLINE_ENSEMBLE, ONLINE_RUN
from climsim.overrides import quoted
from climsim.plugins import absolute_reference
from climsim.stage import Stage
from climsim.workflow.config import ExperimentConfig
from climsim.workflow.jobs import Job
from climsim.workflow.steps import STEPS


class Jobs:
    """Makes the jobs of a study; settings that members share are composed once."""

    def __init__(self, config: ExperimentConfig, config_dir: str | None) -> None:
        self.config = config
        self._folder = None if config_dir is None else str(Path(config_dir).resolve())
        self._composed: dict[tuple[str, ...], Values] = {}

    @cached_property
    def ending(self) -> str:
        """Of the names of exported files, by their format."""
        # Here, not above: formats load torch.
        from climsim.export.formats import FORMATS

        given = flatten(self.config.stages.get(EXPORT.name, {}))
        return FORMATS.find(str(given.get("format", TORCHSCRIPT))).suffix

    def model_of(self, member: str) -> str:
        """Where the exported file of a member goes, in the folder of the study."""
        return STEPS[EXPORT.name].product.format(member=member, ending=self.ending)

    def make(
        self,
        rule: str,
        values: Mapping[str, object],
        member: str = "",
        *,
        shared: Mapping[str, object] | None = None,
        special: Mapping[str, object] | None = None,
    ) -> Job:
        """Make a job of a step.

        Args:
            rule: of the step.
            values: keys that differ from job to job, dotted; what the stage makes follows.
            member: member or reference run; empty for a step that all share.
            shared: further settings, which those of ``stages`` replace.
            special: further settings, which replace those.

        Raises:
            ClimSimError: for a setting that the stage does not know, or a value that it refuses.
        """
        step = STEPS[rule]
        stage, product = step.stage, step.product.format(member=member, ending=self.ending)
        values = {**values, stage.makes: product}
        given = flatten(self.config.stages.get(rule, {}))
        refuse_own(f"stages.{rule}", given, values)
        overrides = override_texts(_rooted({**(shared or {}), **given, **(special or {})}))
        folder = () if self._folder is None else ("--config-dir", self._folder)
        return Job(
            name=f"{rule}-{member}" if member else rule,
            rule=rule,
            member=member,
            command=(*stage.path, *overrides, *override_texts(values), *folder),
            output=step.output.format(member=member, ending=self.ending),
            product=product if step.mark else "",
            inputs=tuple(_inputs(stage, values)),
            settings=self._settings(rule, overrides, values),
        )

    def _settings(
        self, rule: str, overrides: Sequence[str], values: Mapping[str, object]
    ) -> Values:
        name = STEPS[rule].stage.name
        key = (name, *overrides, *values)
        if key not in self._composed:
            given = [*overrides, *override_texts(values)]
            try:
                composed = compose_config(name, given, self._folder)
                stage_config(name, composed)
                self._composed[key] = composed
            except MissingKeysError as error:
                of_runs = STEPS[rule].stage in (ONLINE_RUN, ONLINE_ENSEMBLE)
                where = "online" if of_runs else f"stages.{rule}"
                wanted = " ".join(f"++{where}.{key}=..." for key in error.keys)
                raise ClimSimError(
                    f"stages.{rule}: no value for {', '.join(error.keys)}: add {wanted}"
                ) from error
            except ClimSimError as error:
                raise ClimSimError(f"stages.{rule}: {error}") from error
        settings = copy.deepcopy(self._composed[key])
        for path, value in values.items():
            *groups, last = path.split(".")
            group = settings
            for part in groups:
                inner = group[part]
                assert isinstance(inner, dict)
                group = inner
            group[last] = value
        return settings


def refuse_own(group: str, given: Mapping[str, object], own: Mapping[str, object]) -> None:
    """Refuse keys that a study sets itself, whose value would go unheeded.

    Args:
        group: of the keys, such as ``stages.train``.
        given: by the user, dotted.
        own: what the study sets.

    Raises:
        ClimSimError: naming the key, and what the study sets it to.
    """
    for key, value in given.items():
        if key in own and value not in (own[key], None):
            raise ClimSimError(
                f"{group}.{key}={value}: the study sets it itself, here to {own[key]}: leave it out"
            )


def _inputs(stage: Stage, values: Mapping[str, object]) -> Iterator[str]:
    """What a stage reads, of the values that a study sets."""
    for key in stage.needs:
        value = values.get(key)
        if isinstance(value, str):
            yield value
        elif isinstance(value, Sequence):
            yield from value


def _rooted(values: Mapping[str, object]) -> Values:
    """Settings with absolute paths to code of the user: jobs run in the folder of the study."""
    flat = flatten(dict(values))
    return {k: absolute_reference(v) if isinstance(v, str) else v for k, v in flat.items()}


def override_texts(values: Mapping[str, object]) -> list[str]:
    """Write nested configuration values as Hydra overrides, ``a.b=value``."""
    return [f"{key}={_hydra_value(value)}" for key, value in flatten(values).items()]


def _hydra_value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_hydra_value(item) for item in value) + "]"
    if isinstance(value, str):
        return quoted(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
