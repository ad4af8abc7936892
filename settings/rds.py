"""Classes of RDS instances: whether RDS has one for PostgreSQL in a region, by contracts/aws/rds-classes.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, StrictBool, StrictInt

import contracts
from settings.language.section import Facts, Findings, Section, nearest
from settings.language.values import matching, whole, without_default

InstanceClass = Annotated[str, matching(r"db\.[a-z0-9-]+\.[a-z0-9]+", "an RDS class such as db.t4g.small")]


class RdsFields(Section):
    """The fields of every database on RDS."""

    instance_class: InstanceClass = Field(default="db.t4g.small", description="rds: instance class.")
    multi_az: StrictBool = Field(
        default=False,
        description="rds: a standby in another zone; by default only in production.",
        json_schema_extra=without_default,
    )
    backup_days: Annotated[StrictInt, whole(1, 35, "days")] = Field(
        default=7, description="rds: days that daily backups are kept; any second of them can be restored."
    )
    final_snapshot: StrictBool = Field(
        default=False,
        description="rds: whether a destroy leaves a last snapshot; by default only in production.",
        json_schema_extra=without_default,
    )


RDS_FIELDS = tuple(RdsFields.model_fields)


def foreign_findings(database: Section, kind: str, own: Mapping[str, Sequence[str]]) -> Findings:
    """Keys that were given but belong to another kind. `own`: for each kind the fields that only it has."""
    for other, names in own.items():
        for name in names:
            if other != kind and name in database.model_fields_set:
                key = type(database).model_fields[name].alias or name
                yield (key,), f"is for kind {other}, and this database is of kind {kind}: leave it out"


def kind_findings(kind: str, facts: Facts, *, in_place: str) -> Findings:
    """Amazon RDS outside AWS; `in_place` is the kind that serves there."""
    if kind == "rds" and facts.ground == "existing":
        yield ("kind",), f"rds is for gpulab:ground.kind eks: use {in_place}, which is the default here"


def class_problem(name: str, region: str | None) -> str | None:
    """What is wrong with a class, as the end of the sentence that begins with the key; None when nothing is.

    Without a region, or in one that the catalogue does not know, a class is right if any region has it.
    """
    catalogue = contracts.rds_classes()
    known = catalogue.postgres
    near = f'did you mean "{nearest(name, known) or "db.t4g.small"}"?'
    if name in catalogue.earlier:
        return f"is of a generation that PostgreSQL {catalogue.first_without_earlier} and later do not run on: {near}"
    if name not in known:
        return f"is not a class that RDS has for PostgreSQL: {near}"
    if region in catalogue.regions and region not in known[name]:
        there = [one for one, regions in known.items() if region in regions]
        return f'is not sold in {region}: the nearest class there is "{nearest(name, there) or "db.t4g.small"}"'
    return None
