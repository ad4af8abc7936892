"""What moto's RDS lacks: refusals, network interfaces, versions. Codes and messages are those of the RDS API.

https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

import secrets
import string
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.rds import urls
from moto.rds.exceptions import DBParameterGroupNotFoundError, DBSubnetGroupNotFoundError, RDSClientError
from moto.rds.models import rds_backends
from moto.rds.responses import RDSResponse

import contracts

_FEWEST_ZONES = 2
# The current minor version of each major version of PostgreSQL.
POSTGRES_VERSIONS = {"14": "14.19", "15": "15.14", "16": "16.10", "17": "17.6"}
_NEWEST = "17"
_RESOURCE_ID_LENGTH = 26
_RESOURCE_ID_SIGNS = string.ascii_uppercase + string.digits


class Response(RDSResponse):
    """moto's RDS; it checks requests first."""

    def create_db_subnet_group(self) -> Any:
        """Refuses a group in only one zone."""
        name = self.params["DBSubnetGroupName"]
        if name in self.backend.subnet_groups:
            raise RDSClientError("DBSubnetGroupAlreadyExists", f"The DB subnet group '{name}' already exists.")
        subnets = [self._ec2.get_subnet(id) for id in self.params.get("SubnetIds", [])]
        if len({subnet.availability_zone for subnet in subnets}) < _FEWEST_ZONES:
            raise RDSClientError(
                "DBSubnetGroupDoesNotCoverEnoughAZs",
                "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. Current AZ coverage: "
                f"{', '.join(sorted({subnet.availability_zone for subnet in subnets}))}. Add subnets to cover at least "
                f"{_FEWEST_ZONES} AZs.",
            )
        return super().create_db_subnet_group()

    def delete_db_subnet_group(self) -> Any:
        """Refuses while an instance is in the group."""
        name = self.params["DBSubnetGroupName"]
        if any(self._group_name(database) == name for database in self.backend.databases.values()):
            raise RDSClientError(
                "InvalidDBSubnetGroupStateFault",
                f"Cannot delete the subnet group '{name}' because at least one database instance is still using it.",
            )
        return super().delete_db_subnet_group()

    def delete_db_parameter_group(self) -> Any:
        """Refuses while an instance uses the group."""
        name = self.params["DBParameterGroupName"]
        if any(database.db_parameter_group_name == name for database in self.backend.databases.values()):
            raise RDSClientError(
                "InvalidDBParameterGroupState",
                "One or more database instances are still members of this parameter group, so the group cannot be "
                "deleted",
            )
        return super().delete_db_parameter_group()

    def reset_db_parameter_group(self) -> Any:
        """Resets parameters to their family's values: the named ones, or all."""
        name = self.params["DBParameterGroupName"]
        if name not in self.backend.db_parameter_groups:
            raise DBParameterGroupNotFoundError(name)
        group = self.backend.db_parameter_groups[name]
        for parameter in self.params.get("Parameters") or [{"ParameterName": name} for name in list(group.parameters)]:
            group.parameters.pop(parameter["ParameterName"], None)
        return ActionResult({"DBParameterGroupName": name})

    def create_db_instance(self) -> Any:
        """Makes the instance at the current minor version, with network interfaces in its subnets."""
        self._check_version()
        self._check_class()
        groups = self._check_network()
        result = super().create_db_instance()
        database = self.backend.databases[self.params["DBInstanceIdentifier"].lower()]
        database.dbi_resource_id = "db-" + "".join(
            secrets.choice(_RESOURCE_ID_SIGNS) for _ in range(_RESOURCE_ID_LENGTH)
        )
        subnets = getattr(database, "db_subnet_group", None)
        database.interfaces = [  # type: ignore[attr-defined]
            self._interface(subnet["SubnetIdentifier"], groups)
            for subnet in (subnets.subnets if subnets else [])[: 1 + bool(database.multi_az)]
        ]
        return result

    def modify_db_instance(self) -> Any:
        """Refuses a parameter group of another version, and an unknown class."""
        self._check_version(self.backend.databases.get(self.params["DBInstanceIdentifier"].lower()))
        self._check_class()
        return super().modify_db_instance()

    def delete_db_instance(self) -> Any:
        """Requires a final snapshot or skipping it. Deletes the network interfaces with the instance."""
        final, skip = self.params.get("FinalDBSnapshotIdentifier"), self.params.get("SkipFinalSnapshot")
        if not skip and not final:
            raise RDSClientError(
                "InvalidParameterCombination",
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified.",
            )
        database = self.backend.databases.get(self.params["DBInstanceIdentifier"].lower())
        result = super().delete_db_instance()
        for interface in getattr(database, "interfaces", ()):
            self._ec2.enis.pop(interface, None)
        return result

    @property
    def _ec2(self) -> Any:
        return ec2_backends[self.current_account][self.region]

    def _interface(self, subnet: str, groups: list[str]) -> str:
        interface = self._ec2.create_network_interface(self._ec2.get_subnet(subnet), None, group_ids=groups)
        interface.description, interface.status = "RDSNetworkInterface", "in-use"
        return interface.id

    def _check_version(self, database: Any = None) -> None:
        if (self.params.get("Engine") or (database.engine if database else "")) != "postgres":
            return
        version = str(self.params.get("EngineVersion") or (database.engine_version if database else _NEWEST))
        major = version.partition(".")[0]
        if major not in POSTGRES_VERSIONS:
            raise RDSClientError("InvalidParameterCombination", f"Cannot find version {version} for postgres")
        if version == major:
            self.params["EngineVersion"] = POSTGRES_VERSIONS[major]
        group = self.backend.db_parameter_groups.get(self.params.get("DBParameterGroupName") or "")
        if group and group.family != f"postgres{major}":
            raise RDSClientError(
                "InvalidParameterCombination",
                f"The parameter group {group.name} with DBParameterGroupFamily {group.family} can't be used for this "
                f"instance. Please use a parameter group with DBParameterGroupFamily postgres{major}",
            )

    def _check_class(self) -> None:
        name, classes = self.params.get("DBInstanceClass"), contracts.rds_classes()
        if name is None or self.region in classes.postgres.get(name, ()):
            return
        if name not in classes.postgres and name not in classes.earlier:
            raise RDSClientError("InvalidParameterValue", f"Invalid DB Instance class: {name}")
        version = self.params.get("EngineVersion") or POSTGRES_VERSIONS[_NEWEST]
        raise RDSClientError(
            "InvalidParameterCombination",
            f"RDS does not support creating a DB instance with the following combination: DBInstanceClass={name}, "
            f"Engine=postgres, EngineVersion={version}, LicenseModel=postgresql-license. For supported combinations of "
            "instance class and database engine version, see the documentation.",
        )

    def _check_network(self) -> list[str]:
        """The security groups. Refuses groups of a VPC other than the subnets'."""
        groups = list(self.params.get("VpcSecurityGroupIds") or [])
        name = self.params.get("DBSubnetGroupName")
        if name is None:
            return groups
        if name not in self.backend.subnet_groups:
            raise DBSubnetGroupNotFoundError(name)
        vpc = self.backend.subnet_groups[name].vpc_id
        for id in groups:
            group = self._ec2.get_security_group_from_id(id)
            if group is None or group.vpc_id != vpc:
                raise RDSClientError(
                    "InvalidParameterCombination",
                    f"The DB instance and EC2 security group are in different VPCs. The DB instance is in {vpc} and "
                    f"the EC2 security group is in {group.vpc_id if group else 'none'}",
                )
        return groups

    @staticmethod
    def _group_name(database: Any) -> str | None:
        group = getattr(database, "db_subnet_group", None)
        return group.name if group else None


def databases() -> list[dict[str, str | None]]:
    """Each instance with what somebody needs who runs its database: its name, and its owner's name and password."""
    return [
        {
            "identifier": identifier,
            "database": database.db_name or "postgres",
            "user": database.master_username or "",
            # Nobody reads it back from RDS, so moto has no name for it.
            "password": database._master_user_password,
        }
        for regions in rds_backends.values()
        for backend in regions.values()
        for identifier, database in backend.databases.items()
    ]


def install() -> None:
    """Replaces moto's operations with these."""
    urls.url_paths = {"{0}/$": Response.dispatch}
