"""RDS: database instances, their subnet and parameter groups, and snapshots."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.base import AwsResource, known
from rehearsal.providers.aws.cloud import Cloud, tag_list, tag_map
from rehearsal.providers.serving import Properties, Refused, Request

# Inputs, and what CreateDBInstance and ModifyDBInstance call them.
_BOTH: dict[str, str] = {
    "instanceClass": "DBInstanceClass",
    "allocatedStorage": "AllocatedStorage",
    "autoMinorVersionUpgrade": "AutoMinorVersionUpgrade",
    "backupRetentionPeriod": "BackupRetentionPeriod",
    "backupWindow": "PreferredBackupWindow",
    "caCertIdentifier": "CACertificateIdentifier",
    "copyTagsToSnapshot": "CopyTagsToSnapshot",
    "dbSubnetGroupName": "DBSubnetGroupName",
    "deletionProtection": "DeletionProtection",
    "engineVersion": "EngineVersion",
    "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
    "iops": "Iops",
    "licenseModel": "LicenseModel",
    "maintenanceWindow": "PreferredMaintenanceWindow",
    "maxAllocatedStorage": "MaxAllocatedStorage",
    "monitoringInterval": "MonitoringInterval",
    "monitoringRoleArn": "MonitoringRoleArn",
    "multiAz": "MultiAZ",
    "parameterGroupName": "DBParameterGroupName",
    "password": "MasterUserPassword",
    "publiclyAccessible": "PubliclyAccessible",
    "storageThroughput": "StorageThroughput",
    "storageType": "StorageType",
    "vpcSecurityGroupIds": "VpcSecurityGroupIds",
}
_CREATE_ALONE: dict[str, str] = {
    "availabilityZone": "AvailabilityZone",
    "dbName": "DBName",
    "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
    "engine": "Engine",
    "kmsKeyId": "KmsKeyId",
    "port": "Port",
    "storageEncrypted": "StorageEncrypted",
    "username": "MasterUsername",
}
# What describes an instance under the name of its creation; the rest is computed in `live`.
_DESCRIBED_OTHERWISE = ("dbSubnetGroupName", "parameterGroupName", "password", "port", "vpcSecurityGroupIds")

_IDENTIFIER = r"(?!.*--)[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
_SNAPSHOT = r"(?!.*--)[A-Za-z]([A-Za-z0-9-]{0,253}[A-Za-z0-9])?"
_BAD_IN_PASSWORD = '/@" '
_DESCRIPTION = "Managed by Pulumi"


def _pattern_problems(inputs: Properties, name: str, pattern: str, what: str) -> Iterator[Refused]:
    value = known(inputs.get(name))
    if value is not None and not re.fullmatch(pattern, value):
        yield Refused(f"invalid value for {name} ({value}): {what}", name)


def _retag(cloud: Cloud, arn: str, put: dict[str, str], drop: list[str]) -> None:
    rds = cloud.client("rds")
    if put:
        rds.add_tags_to_resource(ResourceName=arn, Tags=tag_list(put))
    if drop:
        rds.remove_tags_from_resource(ResourceName=arn, TagKeys=drop)


def _tags(cloud: Cloud, arn: str) -> dict[str, str]:
    return tag_map(cloud.client("rds").list_tags_for_resource(ResourceName=arn)["TagList"])


class Instance(AwsResource):
    """A database instance. Storage in GiB, backups in days. Its id is RDS's resource id, which no other ever has."""

    token = "aws:rds/instance:Instance"
    force_new = frozenset(
        {"identifierPrefix", "dbName", "engine", "username", "storageEncrypted", "kmsKeyId", "availabilityZone"}
    )
    defaults = {
        "applyImmediately": False,
        "autoMinorVersionUpgrade": True,
        "copyTagsToSnapshot": False,
        "deleteAutomatedBackups": True,
        "monitoringInterval": 0,
        "publiclyAccessible": False,
        "skipFinalSnapshot": False,
    }
    choices = {
        "monitoringInterval": (0, 1, 5, 10, 15, 30, 60),
        "storageType": ("standard", "gp2", "gp3", "io1", "io2"),
        "enabledCloudwatchLogsExports[]": ("postgresql", "upgrade", "iam-db-auth-error"),
    }
    ranges = {"backupRetentionPeriod": (0, 35), "port": (1150, 65535), "allocatedStorage": (5, 65536)}
    at_most_one = (("identifier", "identifierPrefix"), ("password", "manageMasterUserPassword", "passwordWo"))
    longest_name = None
    unmodelled = frozenset(
        {
            *("blueGreenUpdate", "customIamInstanceProfile", "customerOwnedIpEnabled", "databaseInsightsMode"),
            *("dedicatedLogVolume", "domain", "domainAuthSecretArn", "domainDnsIps", "domainFqdn", "domainIamRoleName"),
            *("domainOu", "engineLifecycleSupport", "manageMasterUserPassword", "masterUserSecretKmsKeyId"),
            *("networkType", "optionGroupName", "passwordWo", "passwordWoVersion", "performanceInsightsEnabled"),
            *("performanceInsightsKmsKeyId", "performanceInsightsRetentionPeriod", "replicateSourceDb"),
            *("restoreToPointInTime", "s3Import", "snapshotIdentifier", "upgradeStorageConfig"),
        }
    )

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for name in ("allocatedStorage", "engine", "username", "password"):
            if name not in inputs:
                yield Refused(f"`{name}`: required field is not set", name)
        if known(inputs.get("engine")) not in (None, "postgres"):
            yield Refused("the rehearsal's RDS knows the engine postgres alone", "engine")
        said = "lower-case letters, digits and single hyphens, a letter first, no hyphen last, 63 at most"
        yield from _pattern_problems(inputs, "identifier", _IDENTIFIER, said)
        said = "letters, digits and single hyphens, a letter first, no hyphen last, 255 at most"
        yield from _pattern_problems(inputs, "finalSnapshotIdentifier", _SNAPSHOT, said)
        yield from _pattern_problems(inputs, "instanceClass", r"db\.[a-z0-9-]+\.[a-z0-9]+", "no class of instances")
        password = known(inputs.get("password"))
        if password is not None and (not 8 <= len(password) <= 128 or set(password) & set(_BAD_IN_PASSWORD)):
            yield Refused('the password must have 8 to 128 characters, and none of / @ " or space', "password")
        least, most = known(inputs.get("allocatedStorage")), known(inputs.get("maxAllocatedStorage"))
        if least is not None and most and most * 10 < least * 11:
            yield Refused(
                f"maxAllocatedStorage ({most}) must be at least 10 % above allocatedStorage ({least})",
                "maxAllocatedStorage",
            )
        if known(inputs.get("storageEncrypted")) is False and inputs.get("kmsKeyId"):
            yield Refused("kmsKeyId needs storageEncrypted", "kmsKeyId")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        identifier = inputs.get("identifier") or f"{inputs.get('identifierPrefix', 'tf-')}{uuid.uuid4().hex[:26]}"
        given = {api: inputs[name] for name, api in {**_BOTH, **_CREATE_ALONE}.items() if inputs.get(name) is not None}
        made = cloud.client("rds").create_db_instance(
            DBInstanceIdentifier=identifier, Tags=tag_list(inputs.get("tagsAll")), **given
        )["DBInstance"]
        return _found(cloud, made["DBInstanceIdentifier"])["DbiResourceId"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        filters = [{"Name": "dbi-resource-id", "Values": [id]}]
        found = cloud.client("rds").describe_db_instances(Filters=filters)["DBInstances"]
        if not found:
            return None
        database = found[0]
        endpoint = database["Endpoint"]
        actual, asked = database["EngineVersion"], olds.get("engineVersion") or ""
        plain = {
            name: database.get(api)
            for name, api in {**_BOTH, **_CREATE_ALONE}.items()
            if name not in _DESCRIBED_OTHERWISE and database.get(api) is not None
        }
        return {
            **plain,
            "iamDatabaseAuthenticationEnabled": database.get("IAMDatabaseAuthenticationEnabled", False),
            "enabledCloudwatchLogsExports": database.get("EnabledCloudwatchLogsExports", []),
            "maxAllocatedStorage": _above(database.get("MaxAllocatedStorage"), database["AllocatedStorage"]),
            "identifier": database["DBInstanceIdentifier"],
            "arn": database["DBInstanceArn"],
            "address": endpoint["Address"],
            "port": endpoint["Port"],
            "endpoint": f"{endpoint['Address']}:{endpoint['Port']}",
            "hostedZoneId": endpoint.get("HostedZoneId", "Z2R2ITUGPM61AM"),
            # The version asked for may leave the minor part to RDS.
            "engineVersion": asked if asked and f"{actual}.".startswith(f"{asked}.") else actual,
            "engineVersionActual": actual,
            "dbSubnetGroupName": (database.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
            "parameterGroupName": database["DBParameterGroups"][0]["DBParameterGroupName"],
            "vpcSecurityGroupIds": [group["VpcSecurityGroupId"] for group in database["VpcSecurityGroups"]],
            "resourceId": id,
            "status": database["DBInstanceStatus"],
            "tags": tag_map(database.get("TagList")),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        given = {
            _BOTH[name]: inputs[name] for name in sorted(changed) if name in _BOTH and inputs.get(name) is not None
        }
        if "port" in changed:
            given["DBPortNumber"] = inputs["port"]
        if "identifier" in changed:
            given["NewDBInstanceIdentifier"] = inputs["identifier"]
        if given:
            cloud.client("rds").modify_db_instance(
                DBInstanceIdentifier=olds["identifier"], ApplyImmediately=bool(inputs["applyImmediately"]), **given
            )

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        _retag(cloud, olds["arn"], put, drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        final = olds.get("finalSnapshotIdentifier")
        if not olds["skipFinalSnapshot"] and not final:
            raise Refused("finalSnapshotIdentifier is required when skipFinalSnapshot is false")
        last = {"SkipFinalSnapshot": True} if olds["skipFinalSnapshot"] else {"FinalDBSnapshotIdentifier": final}
        cloud.client("rds").delete_db_instance(
            DBInstanceIdentifier=olds["identifier"], DeleteAutomatedBackups=olds["deleteAutomatedBackups"], **last
        )


def _found(cloud: Cloud, identifier: str) -> dict[str, Any]:
    return cloud.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)["DBInstances"][0]


def _above(most: int | None, storage: int) -> int:
    """The most that storage may grow to; 0 where it does not grow, which moto tells by the storage itself."""
    return most if most is not None and most > storage else 0


class SubnetGroup(AwsResource):
    """The subnets that an instance may be in, of two zones at least."""

    token = "aws:rds/subnetGroup:SubnetGroup"
    force_new = frozenset({"name", "namePrefix"})
    defaults = {"description": _DESCRIPTION}
    name_pattern = r"[0-9a-z._ -]+"

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        if known(inputs.get("name")) == "default":
            yield Refused("name cannot be default", "name")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.client("rds").create_db_subnet_group(
            DBSubnetGroupName=self.chosen_name(inputs),
            DBSubnetGroupDescription=inputs["description"],
            SubnetIds=inputs["subnetIds"],
            Tags=tag_list(inputs.get("tagsAll")),
        )
        return made["DBSubnetGroup"]["DBSubnetGroupName"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        group = cloud.client("rds").describe_db_subnet_groups(DBSubnetGroupName=id)["DBSubnetGroups"][0]
        return {
            "name": group["DBSubnetGroupName"],
            "description": group["DBSubnetGroupDescription"],
            "subnetIds": [subnet["SubnetIdentifier"] for subnet in group["Subnets"]],
            "arn": group["DBSubnetGroupArn"],
            "vpcId": group["VpcId"],
            "supportedNetworkTypes": group.get("SupportedNetworkTypes", ["IPV4"]),
            "tags": _tags(cloud, group["DBSubnetGroupArn"]),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        cloud.client("rds").modify_db_subnet_group(
            DBSubnetGroupName=id, DBSubnetGroupDescription=inputs["description"], SubnetIds=inputs["subnetIds"]
        )

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        _retag(cloud, olds["arn"], put, drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("rds").delete_db_subnet_group(DBSubnetGroupName=id)


class ParameterGroup(AwsResource):
    """Settings of the database engine that differ from its family's."""

    token = "aws:rds/parameterGroup:ParameterGroup"
    force_new = frozenset({"name", "namePrefix", "family", "description"})
    defaults = {"description": _DESCRIPTION, "skipDestroy": False}
    choices = {"parameters[].applyMethod": ("immediate", "pending-reboot")}
    name_pattern = r"(?!.*--)[a-z]([0-9a-z.-]*[0-9a-z])?"

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        family = known(inputs.get("family"))
        if family is not None and not re.fullmatch(r"postgres\d+", family):
            yield Refused("the rehearsal's RDS knows families of postgres alone, such as postgres17", "family")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.client("rds").create_db_parameter_group(
            DBParameterGroupName=self.chosen_name(inputs),
            DBParameterGroupFamily=inputs["family"],
            Description=inputs["description"],
            Tags=tag_list(inputs.get("tagsAll")),
        )
        return made["DBParameterGroup"]["DBParameterGroupName"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        self._set(cloud, id, inputs.get("parameters") or [])

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        rds = cloud.client("rds")
        groups = rds.describe_db_parameter_groups(DBParameterGroupName=id)["DBParameterGroups"]
        if not groups:
            return None
        group = groups[0]
        parameters = rds.describe_db_parameters(DBParameterGroupName=id)["Parameters"]
        return {
            "name": group["DBParameterGroupName"],
            "family": group["DBParameterGroupFamily"],
            "description": group["Description"],
            "arn": group["DBParameterGroupArn"],
            "parameters": [
                {
                    "name": one["ParameterName"],
                    "value": one["ParameterValue"],
                    "applyMethod": one.get("ApplyMethod", "immediate"),
                }
                for one in parameters
            ],
            "tags": _tags(cloud, group["DBParameterGroupArn"]),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        wanted = inputs.get("parameters") or []
        names = {one["name"] for one in wanted}
        gone = [one for one in olds.get("parameters") or [] if one["name"] not in names]
        if gone:
            cloud.client("rds").reset_db_parameter_group(
                DBParameterGroupName=id,
                Parameters=[{"ParameterName": one["name"], "ApplyMethod": "pending-reboot"} for one in gone],
            )
        self._set(cloud, id, wanted)

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        _retag(cloud, olds["arn"], put, drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if not olds.get("skipDestroy"):
            cloud.client("rds").delete_db_parameter_group(DBParameterGroupName=id)

    @staticmethod
    def _set(cloud: Cloud, id: str, parameters: list[dict[str, str]]) -> None:
        if parameters:
            cloud.client("rds").modify_db_parameter_group(
                DBParameterGroupName=id,
                Parameters=[
                    {
                        "ParameterName": one["name"],
                        "ParameterValue": one["value"],
                        "ApplyMethod": one.get("applyMethod", "immediate"),
                    }
                    for one in parameters
                ],
            )


class Snapshot(AwsResource):
    """A snapshot of an instance, made when the resource is."""

    token = "aws:rds/snapshot:Snapshot"
    force_new = frozenset({"dbInstanceIdentifier", "dbSnapshotIdentifier"})
    longest_name = None
    unmodelled = frozenset({"sharedAccounts"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        said = "letters, digits and single hyphens, a letter first, no hyphen last, 255 at most"
        yield from _pattern_problems(inputs, "dbSnapshotIdentifier", _SNAPSHOT, said)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.client("rds").create_db_snapshot(
            DBInstanceIdentifier=inputs["dbInstanceIdentifier"],
            DBSnapshotIdentifier=inputs["dbSnapshotIdentifier"],
            Tags=tag_list(inputs.get("tagsAll")),
        )
        return made["DBSnapshot"]["DBSnapshotIdentifier"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        found = cloud.client("rds").describe_db_snapshots(DBSnapshotIdentifier=id)["DBSnapshots"]
        if not found:
            return None
        snapshot = found[0]
        return {
            "dbInstanceIdentifier": snapshot["DBInstanceIdentifier"],
            "dbSnapshotIdentifier": snapshot["DBSnapshotIdentifier"],
            "dbSnapshotArn": snapshot["DBSnapshotArn"],
            "allocatedStorage": snapshot["AllocatedStorage"],
            "encrypted": snapshot["Encrypted"],
            "engine": snapshot["Engine"],
            "engineVersion": snapshot["EngineVersion"],
            "kmsKeyId": snapshot.get("KmsKeyId") or "",
            "port": snapshot["Port"],
            "snapshotType": snapshot["SnapshotType"],
            "status": snapshot["Status"],
            "storageType": snapshot.get("StorageType", "gp3"),
            "tags": _tags(cloud, snapshot["DBSnapshotArn"]),
        }

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        _retag(cloud, olds["dbSnapshotArn"], put, drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("rds").delete_db_snapshot(DBSnapshotIdentifier=id)
