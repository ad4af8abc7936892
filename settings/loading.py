"""Makes a stack's checked settings from its configuration, or reads what it can of one with mistakes."""

from __future__ import annotations

import dataclasses
import datetime
import operator
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from settings.eks_stack import REGION_PATTERN, EksStack
from settings.existing_stack import ExistingStack
from settings.ground import GroundKind
from settings.language.configuration import REGION_KEY, AsWritten, given_by, in_quotes, sections_of
from settings.language.section import Facts, MissingField, Mistake, Reading, SettingsError, given_as, nearest, text_of
from settings.people.teams import with_writers_of
from settings.stack import PROJECT, Settings, StackSettings

_NOTHING_WRITTEN = AsWritten()

_GROUNDS: Mapping[GroundKind, type[StackSettings]] = {"eks": EksStack, "existing": ExistingStack}
SECTIONS = {name: is_text for stack in _GROUNDS.values() for name, is_text in sections_of(stack).items()}
"""The sections of stack files on all grounds, each with whether it is a text."""


def is_required(section: str) -> bool:
    """Whether a stack file needs a section on each ground that has it."""
    having = [stack.by_key()[section] for stack in _GROUNDS.values() if section in stack.by_key()]
    return all(info.is_required() for info in having)


def load(
    config: Mapping[str, str], *, stack: str, today: datetime.date, written: AsWritten = _NOTHING_WRITTEN
) -> Settings:
    """The settings of a stack, checked.

    `config` is what Pulumi gives a program: full keys (`gpulab:network`) and text, objects as JSON. `written` is what
    the stack file says beyond that. Of the namespace `aws` only `region` is read; keys of the engine and of other
    providers are left to them; all other keys are refused. Raises SettingsError, with every mistake.
    """
    facts, settings, mistakes = _read(config, stack, written, Reading(Facts(stack=stack, today=today)))
    if settings is None or mistakes:
        raise SettingsError(stack, mistakes)
    sections = {**dict(settings), "storage": with_writers_of(settings.teams, settings.storage)}
    warnings = tuple(Mistake(f"{PROJECT}:{text_of(path)}", text) for path, text in settings.warnings(today))
    return settings.settings(facts, {**sections, "warnings": warnings})


def load_leniently(config: Mapping[str, str], *, stack: str, written: AsWritten = _NOTHING_WRITTEN) -> Settings:
    """The settings of a stack for what ends or parks it, whatever the day, and whatever else is wrong in its file.

    A stack must be destroyable even when a newer release refuses its file. Sections with mistakes lack the attributes
    that are wrong; sections that are wrong as a whole are None, and teams are empty. Raises SettingsError where
    something that is needed is wrong.
    """
    facts, settings, _ = _read(config, stack, written, Reading(Facts(stack=stack), lenient=True))
    if settings is None or (settings.in_a_region and not facts.region) or not _has_the_needed(settings):
        _, _, mistakes = _read(config, stack, written, Reading(Facts(stack=stack)))
        raise SettingsError(stack, mistakes)
    sections: dict[str, Any] = {**dict.fromkeys(type(settings).model_fields), "teams": {}, **vars(settings)}
    return settings.settings(facts, sections)


def _has_the_needed(settings: StackSettings) -> bool:
    """Whether everything is there that a destroy, parking and the search for leftovers need."""
    try:
        operator.attrgetter(*settings.needed)(settings)
        if settings.identity:
            operator.attrgetter("database.final_snapshot")(settings.identity)
        if settings.hub:
            operator.attrgetter("enabled", "database.final_snapshot")(settings.hub)
    except MissingField:
        return False
    return True


def _read(
    config: Mapping[str, str], stack: str, written: AsWritten, reading: Reading
) -> tuple[Facts, StackSettings | None, list[Mistake]]:
    """What is known (no region where it is wrong), the sections (None where they are wrong), and every mistake."""
    given = given_by(config, PROJECT, SECTIONS, written)
    mistakes = [*written.mistakes, *given.mistakes]
    model = _ground_of(given.sections)
    region = given.region
    if model.in_a_region and re.fullmatch(REGION_PATTERN, region) is None:
        expected = "is missing. The AWS region, such as us-east-1."
        wrong = f"must be an AWS region such as us-east-1{given_as(region)}"
        mistakes.insert(0, Mistake(REGION_KEY, wrong if region else expected))
        region = ""
    elif not model.in_a_region and region:
        mistakes.insert(0, Mistake(REGION_KEY, "is for gpulab:ground.kind eks: leave it out, no AWS is used"))
    reading.facts = facts = dataclasses.replace(reading.facts, region=region or None, ground=model.kind)
    settings = None
    try:
        settings = model.model_validate(given.sections, context=reading)
    except ValidationError as error:
        mistakes += [
            Mistake(f"{PROJECT}:{text_of(details['loc'])}", details["msg"])
            for details in error.errors()
            if not given.is_covered(details["loc"])
        ]
    return facts, settings, in_quotes(mistakes, written.plain)


def _ground_of(sections: Mapping[str, Any]) -> type[StackSettings]:
    """The model of the ground that a stack file names, also with a mistake in its kind; EKS where it names none."""
    ground = sections.get("ground")
    kind = ground.get("kind") if isinstance(ground, dict) else None
    meant = nearest(kind, _GROUNDS) if isinstance(kind, str) else None
    return _GROUNDS[meant] if meant else EksStack  # type: ignore[index]
