"""Classes of RDS instances: whether RDS has one for PostgreSQL in a region, by contracts/aws/rds-classes.json."""

from __future__ import annotations

from typing import Annotated

import contracts
from settings.section import nearest
from settings.values import matching

InstanceClass = Annotated[str, matching(r"db\.[a-z0-9-]+\.[a-z0-9]+", "an RDS class such as db.t4g.small")]


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
