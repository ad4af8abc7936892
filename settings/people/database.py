"""`gpulab:identity.database`: the PostgreSQL server of Keycloak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt

from settings.language.section import Facts, Findings, rule
from settings.language.values import whole, without_default
from settings.rds import RDS_FIELDS, InstanceClass, RdsFields, class_problem, foreign_findings, kind_findings

SERVER_GIB = 1
"""Memory in GiB of each server of cloudnative-pg."""

_PRODUCTION: Mapping[str, Mapping[str, Any]] = {
    "rds": {"instanceClass": "db.m7g.large", "multiAz": True, "finalSnapshot": True},
    "cloudnative-pg": {"instances": 3},
}
"""The defaults of production, by kind."""

_OWN_FIELDS = {"rds": (*RDS_FIELDS, "max_storage"), "cloudnative-pg": ("instances",)}


class Database(RdsFields):
    """The PostgreSQL server that keeps people, passwords (hashed) and sessions."""

    kind: Literal["rds", "cloudnative-pg"] = Field(
        default="rds",
        description="rds: Amazon RDS, the default. cloudnative-pg: in the cluster, on its volumes; the default with "
        "lifecycle.thrift and on an existing cluster.",
        json_schema_extra=without_default,
    )
    instance_class: InstanceClass = Field(
        default="db.t4g.small",
        description="rds: instance class; db.t4g.small by default, in production db.m7g.large.",
        json_schema_extra=without_default,
    )
    storage: Annotated[StrictInt, whole(20, 16384, "GiB")] = Field(default=20, description="Size in GiB at the start.")
    max_storage: Annotated[StrictInt, whole(20, 65536, "GiB")] | None = Field(
        default=None, description="rds: GiB up to which storage grows automatically; none: it does not grow."
    )
    instances: Annotated[StrictInt, whole(1, 5)] = Field(
        default=1,
        description="cloudnative-pg: servers, one of which takes writes; 1 by default, in production 3.",
        json_schema_extra=without_default,
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """Production survives the loss of a zone and leaves a last snapshot; a lab with `thrift` has no RDS."""
        kind = "cloudnative-pg" if facts.thrift or facts.ground == "existing" else "rds"
        production = _PRODUCTION.get(str(given.get("kind", kind)), {}) if facts.production else {}
        return {"kind": kind, **production, **given}

    @rule
    def _keys_of_its_kind(self, facts: Facts) -> Findings:
        yield from foreign_findings(self, self.kind, _OWN_FIELDS)

    @rule
    def _database_of_the_ground(self, facts: Facts) -> Findings:
        yield from kind_findings(self.kind, facts, in_place="cloudnative-pg")

    @rule
    def _class_that_rds_has(self, facts: Facts) -> Findings:
        if self.kind == "rds" and (problem := class_problem(self.instance_class, facts.region)):
            yield ("instanceClass",), problem

    @rule
    def _storage_that_grows(self, facts: Facts) -> Findings:
        # RDS, "Managing capacity automatically": the limit is at least 10 % above what there is.
        if self.max_storage is not None and self.max_storage * 10 < self.storage * 11:
            yield ("maxStorage",), f"must be at least a tenth above storage, which is {self.storage} GiB"
