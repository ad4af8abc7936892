"""Makes the settings of a stack from its configuration, checked; or what can be told of one with mistakes."""

from __future__ import annotations

import dataclasses
import datetime
import operator
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from settings.address_need import address_findings
from settings.configuration import REGION_KEY, AsWritten, given_by, in_quotes, sections_of
from settings.images import UPSTREAMS
from settings.kubernetes_versions import notice
from settings.section import Facts, Findings, Mistake, Reading, SettingsError, given_as, text_of
from settings.stack import PROJECT, REGION_PATTERN, Settings, StackSettings
from settings.teams import with_writers_of

_NOTHING_WRITTEN = AsWritten()

_WHAT_GOES = operator.attrgetter(
    *("lifecycle.kind", "lifecycle.expires", "lifecycle.unlock", "lifecycle.park_at_night"),
    *("cluster.name", "cluster.system_nodes.count", "storage.retain", "storage.homes", "ingress.domain"),
    *("identity", "hub"),
)
"""What ends or parks a stack, or looks for what is left of it, needs of its file."""


def load(
    config: Mapping[str, str], *, stack: str, today: datetime.date, written: AsWritten = _NOTHING_WRITTEN
) -> Settings:
    """The settings of a stack, checked.

    `config` is what Pulumi hands a program: full keys (`gpulab:network`) and text, objects as JSON; `written` what the
    stack file says beyond that. Of the namespace `aws` only `region` is taken; those of the engine and of other
    providers are theirs, and keys of any other are refused. Raises SettingsError, with every mistake.
    """
    region, settings, mistakes = _read(config, stack, written, Reading(Facts(stack=stack, today=today)))
    if settings is None or mistakes:
        raise SettingsError(stack, mistakes)
    merged = {**dict(settings), "storage": with_writers_of(settings.teams, settings.storage)}
    warnings = tuple(Mistake(f"{PROJECT}:{text_of(path)}", text) for path, text in _warnings(settings, today))
    return Settings(region=region, stack=stack, warnings=warnings, **merged)


def load_what_goes(config: Mapping[str, str], *, stack: str, written: AsWritten = _NOTHING_WRITTEN) -> Settings:
    """The settings of a stack for what ends or parks it, whatever the day, and whatever else is wrong in its file.

    A stack file that a newer release refuses keeps no stack alive. Sections with mistakes lack the attributes that are
    wrong; sections that are wrong altogether are None, and teams none. Raises SettingsError where what is needed for it
    is wrong.
    """
    region, settings, _ = _read(config, stack, written, Reading(Facts(stack=stack), lenient=True))
    if settings is None or not region or not _says_what_goes(settings):
        _, _, mistakes = _read(config, stack, written, Reading(Facts(stack=stack)))
        raise SettingsError(stack, mistakes)
    sections: dict[str, Any] = {**dict.fromkeys(StackSettings.model_fields), "teams": {}, **vars(settings)}
    return Settings(region=region, stack=stack, **sections)


def _says_what_goes(settings: StackSettings) -> bool:
    """Whether there is what a destroy, a parking and the look for leftovers ask of a stack file."""
    try:
        _WHAT_GOES(settings)
        if settings.identity:
            operator.attrgetter("database.final_snapshot")(settings.identity)
        if settings.hub:
            operator.attrgetter("enabled", "database.final_snapshot")(settings.hub)
    except AttributeError:
        return False
    return True


def _read(
    config: Mapping[str, str], stack: str, written: AsWritten, reading: Reading
) -> tuple[str, StackSettings | None, list[Mistake]]:
    """The region, or "" where it is wrong, the sections, or None where they are wrong, and every mistake."""
    given = given_by(config, PROJECT, sections_of(StackSettings), written)
    mistakes = [*written.mistakes, *given.mistakes]
    region_is_right = re.fullmatch(REGION_PATTERN, given.region) is not None
    if not region_is_right:
        expected = "is missing. The AWS region, such as us-east-1."
        wrong = f"must be an AWS region such as us-east-1{given_as(given.region)}"
        mistakes.insert(0, Mistake(REGION_KEY, wrong if given.region else expected))

    region = given.region if region_is_right else ""
    reading.facts = dataclasses.replace(reading.facts, region=region or None)
    settings = None
    try:
        settings = StackSettings.model_validate(given.sections, context=reading)
    except ValidationError as error:
        mistakes += [
            Mistake(f"{PROJECT}:{text_of(details['loc'])}", details["msg"])
            for details in error.errors()
            if not given.is_covered(details["loc"])
        ]
    return region, settings, in_quotes(mistakes, written.plain)


def _warnings(stack: StackSettings, today: datetime.date) -> Findings:
    """What is accepted and deserves a look, each by its path."""
    if said := notice(stack.cluster.version, stack.cluster.upgrade_policy, today):
        yield ("cluster", "version"), said
    hub = stack.hub if stack.hub and stack.hub.enabled else None
    if stack.network.nat == "none" and hub and not (hub.registry and hub.registry.mirror):
        yield (
            ("network", "nat"),
            f"is none, so nodes have no way to {' and '.join(UPSTREAMS)}, where the hub's images are: name a registry "
            "within the VPC's reach in hub.registry.mirror, unless the VPC has a way out that the stack did not make",
        )
    yield from address_findings(stack)
