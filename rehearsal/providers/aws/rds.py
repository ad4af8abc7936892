"""RDS: database instances and snapshots."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused, Request

# Inputs that both CreateDBInstance and ModifyDBInstance take.
_BOTH = (
    "instanceClass", "allocatedStorage", "autoMinorVersionUpgrade", "backupRetentionPeriod", "backupWindow",
    "caCertIdentifier", "copyTagsToSnapshot", "dbSubnetGroupName", "deletionProtection", "engineVersion",
    "iamDatabaseAuthenticationEnabled", "iops", "licenseModel", "maintenanceWindow", "maxAllocatedStorage",
    "monitoringInterval", "monitoringRoleArn", "multiAz", "parameterGroupName", "password", "publiclyAccessible",
    "storageThroughput", "storageType", "vpcSecurityGroupIds",
)  # fmt: skip
_ONLY_AT_CREATION = (
    "availabilityZone", "dbName", "enabledCloudwatchLogsExports", "engine", "kmsKeyId", "port", "storageEncrypted",
    "username",
)  # fmt: skip
# Inputs that a description of an instance has too.
_DESCRIBED = {*_BOTH, *_ONLY_AT_CREATION} - {
    "dbSubnetGroupName", "parameterGroupName", "password", "port", "vpcSecurityGroupIds"
}  # fmt: skip

_IDENTIFIER = r"(?!.*--)[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
_SNAPSHOT = r"(?!.*--)[A-Za-z]([A-Za-z0-9-]{0,253}[A-Za-z0-9])?"
_BAD_IN_PASSWORD = '/@" '


def _pattern_problems(inputs: Properties, name: str, pattern: str, what: str) -> Iterator[Refused]:
    value = known(inputs.get(name))
    if value is not None and not re.fullmatch(pattern, value):
        yield Refused(f"invalid value for {name} ({value}): {what}", name)


class RdsResource(DescribedResource):
    """The types of RDS. They are tagged by ARN."""

    service = "rds"
    read_tags_call = Call("list_tags_for_resource", ResourceName="{arn || dbSnapshotArn}")
    tags_found = "TagList"
    tag_call = Call("add_tags_to_resource", ResourceName="{arn || dbSnapshotArn}", Tags="{tags}")
    untag_call = Call("remove_tags_from_resource", ResourceName="{arn || dbSnapshotArn}", TagKeys="{tagKeys}")


class Instance(RdsResource):
    """A database instance. Storage is in GiB, backups are in days. Its id is the resource id of RDS."""

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
    required = ("allocatedStorage", "engine", "username", "password")
    at_most_one = (("identifier", "identifierPrefix"), ("password", "manageMasterUserPassword", "passwordWo"))
    api_names = {
        "arn": "DBInstanceArn",
        "backupWindow": "PreferredBackupWindow",
        "caCertIdentifier": "CACertificateIdentifier",
        "enabledCloudwatchLogsExports": "EnableCloudwatchLogsExports",
        "iamDatabaseAuthenticationEnabled": "EnableIAMDatabaseAuthentication",
        "identifier": "DBInstanceIdentifier",
        "instanceClass": "DBInstanceClass",
        "maintenanceWindow": "PreferredMaintenanceWindow",
        "parameterGroupName": "DBParameterGroupName",
        "password": "MasterUserPassword",
        "status": "DBInstanceStatus",
        "username": "MasterUsername",
    }
    create_call = Call("create_db_instance", f"identifier tags {' '.join((*_BOTH, *_ONLY_AT_CREATION))}")
    read_call = Call("describe_db_instances", Filters=[{"Name": "dbi-resource-id", "Values": ["{id}"]}])
    found = "DBInstances[0]"
    outputs = fields(
        "identifier arn status",
        engineVersionActual="EngineVersion",
        enabledCloudwatchLogsExports="EnabledCloudwatchLogsExports || `[]`",
        dbSubnetGroupName="DBSubnetGroup.DBSubnetGroupName",
        iamDatabaseAuthenticationEnabled="IAMDatabaseAuthenticationEnabled || `false`",
        parameterGroupName="DBParameterGroups[0].DBParameterGroupName",
        vpcSecurityGroupIds="VpcSecurityGroups[].VpcSecurityGroupId",
        tags="TagList",
    )
    delete_call = Call(
        "delete_db_instance", "identifier deleteAutomatedBackups skipFinalSnapshot finalDbSnapshotIdentifier"
    )
    read_tags_call = None
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
        if known(inputs.get("engine")) not in (None, "postgres"):
            yield Refused("the rehearsal's RDS supports only the engine postgres", "engine")
        said = "lower-case letters, digits and single hyphens, a letter first, no hyphen last, 63 at most"
        yield from _pattern_problems(inputs, "identifier", _IDENTIFIER, said)
        said = "letters, digits and single hyphens, a letter first, no hyphen last, 255 at most"
        yield from _pattern_problems(inputs, "finalSnapshotIdentifier", _SNAPSHOT, said)
        yield from _pattern_problems(
            inputs, "instanceClass", r"db\.[a-z0-9-]+\.[a-z0-9]+", "it is not an instance class"
        )
        password = known(inputs.get("password"))
        if password is not None and (not 8 <= len(password) <= 128 or set(password) & set(_BAD_IN_PASSWORD)):
            yield Refused('the password must have 8 to 128 characters, but not / @ " or space', "password")
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
        super().make(cloud, {**inputs, "identifier": identifier}, request)
        made = cloud.client("rds").describe_db_instances(DBInstanceIdentifier=identifier)
        return made["DBInstances"][0]["DbiResourceId"]

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        plain = {name: self.output(name, "", found) for name in _DESCRIBED}
        endpoint, actual, wanted = found["Endpoint"], found["EngineVersion"], known.get("engineVersion") or ""
        most, storage = found.get("MaxAllocatedStorage"), found["AllocatedStorage"]
        return {
            **{name: value for name, value in plain.items() if value is not None},
            # 0 if the storage does not grow. moto reports the storage then.
            "maxAllocatedStorage": most if most is not None and most > storage else 0,
            "address": endpoint["Address"],
            "port": endpoint["Port"],
            "endpoint": f"{endpoint['Address']}:{endpoint['Port']}",
            "hostedZoneId": endpoint.get("HostedZoneId", "Z2R2ITUGPM61AM"),
            # The program's version can lack the minor part, which RDS chooses.
            "engineVersion": wanted if wanted and f"{actual}.".startswith(f"{wanted}.") else actual,
            "resourceId": known["id"],
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        given = {name: inputs[name] for name in sorted(changed) if name in _BOTH and inputs.get(name) is not None}
        if "port" in changed:
            given["dbPortNumber"] = inputs["port"]
        if "identifier" in changed:
            given["newDbInstanceIdentifier"] = inputs["identifier"]
        if given:
            now = {"identifier": olds["identifier"], "applyImmediately": bool(inputs["applyImmediately"])}
            self.answer(Call("modify_db_instance", " ".join([*now, *given])), cloud, {**now, **given})

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        final = olds.get("finalSnapshotIdentifier")
        if not olds["skipFinalSnapshot"] and not final:
            raise Refused("finalSnapshotIdentifier is required when skipFinalSnapshot is false")
        last = None if olds["skipFinalSnapshot"] else final
        super().remove(cloud, id, {**olds, "finalDbSnapshotIdentifier": last}, request)


class Snapshot(RdsResource):
    """A snapshot of an instance."""

    token = "aws:rds/snapshot:Snapshot"
    force_new = frozenset({"dbInstanceIdentifier", "dbSnapshotIdentifier"})
    unmodelled = frozenset({"sharedAccounts"})
    id_form = "{dbSnapshotIdentifier}"
    create_call = Call("create_db_snapshot", "dbInstanceIdentifier dbSnapshotIdentifier tags")
    read_call, found = Call("describe_db_snapshots", "dbSnapshotIdentifier"), "DBSnapshots[0]"
    outputs = fields(
        "dbInstanceIdentifier dbSnapshotArn allocatedStorage encrypted engine engineVersion port snapshotType status",
        kmsKeyId="KmsKeyId || ''",
        storageType="StorageType || 'gp3'",
    )
    delete_call = Call("delete_db_snapshot", "dbSnapshotIdentifier")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        said = "letters, digits and single hyphens, a letter first, no hyphen last, 255 at most"
        yield from _pattern_problems(inputs, "dbSnapshotIdentifier", _SNAPSHOT, said)
