"""Classes of RDS instances: whether RDS has one for PostgreSQL in a region, by contracts/aws/rds-classes.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import contracts
from settings.section import Findings, Section, nearest
from settings.values import matching

InstanceClass = Annotated[str, matching(r"db\.[a-z0-9-]+\.[a-z0-9]+", "an RDS class such as db.t4g.small")]


RDS_FIELDS = ("instance_class", "multi_az", "backup_days", "final_snapshot")
"""What only a database on RDS has, wherever one is configured."""


def foreign_findings(database: Section, kind: str, own: Mapping[str, Sequence[str]]) -> Findings:
    """Keys that were given and that are another kind's; `own` are the fields by the kind that alone has them."""
    for other, names in own.items():
        for name in names:
            if other != kind and name in database.model_fields_set:
                key = type(database).model_fields[name].alias or name
                yield (key,), f"is for kind {other}, and this database is of kind {kind}: leave it out"


def class_problem(name: str, region: str | None) -> str | None:
    """What is wrong with a class, as the end of the sentence that begins with the key; None when nothing is.

    With no region, or in one that the catalogue does not know, a class is right that any region has.
    """
    catalogue = contracts.rds_classes()
    known = catalogue.postgres
    near = f'did you mean "{nearest(name, known) or "db.t4g.small"}"?'
    if name in catalogue.earlier:
        return f"is of a generation that PostgreSQL {catalogue.first_without_earlier} and later do not run on: {near}"
    if name not in known:
        return f"is no class that RDS has for PostgreSQL: {near}"
    if region in catalogue.regions and region not in known[name]:
        there = [one for one, regions in known.items() if region in regions]
        return f'is not sold in {region}: the nearest class there is "{nearest(name, there) or "db.t4g.small"}"'
    return None
