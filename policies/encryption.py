"""Encryption: of stored data, of the cluster's secrets, and of connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.reading.resources import (
    NotDecided,
    Resource,
    Stack,
    at,
    either,
    is_kind,
    is_true,
    is_type,
    items,
    kind_of,
    made_from,
    number,
    parsed,
)
from policies.rules import (
    HIGH,
    MEDIUM,
    Finding,
    Found,
    Limits,
    about,
    best_practices,
    cis,
    resource_policy,
    stack_policy,
)

CLUSTER = "aws:eks/cluster:Cluster"
BUCKETS = ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")
_BUCKET_ENCRYPTION = (
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2",
)
_AT_REST = best_practices("Security: Data encryption and secrets management, encryption at rest")


@resource_policy(
    "cluster-secrets-encryption",
    "An EKS cluster encrypts its secrets with a KMS key of the account",
    fix="Set encryptionConfig to {provider: {keyArn: …}, resources: [secrets]} (eks.Cluster: encryptionConfigKeyArn)",
    severity=HIGH,
    concerns=is_type(CLUSTER),
    framework=cis("5.3.1"),
)
def cluster_secrets_encryption(cluster: Resource, _limits: Limits) -> Iterator[Found]:
    """With envelope encryption, reading etcd's disks is not enough. A key that is not yet known counts as given."""
    config = at(cluster.props, "encryptionConfig", {})
    if "secrets" not in items(config.get("resources")) or "provider" not in set(config):
        yield "its secrets are not encrypted with a KMS key"


@resource_policy(
    "cluster-logs",
    "An EKS cluster writes audit, API and authenticator logs",
    fix="Set enabledClusterLogTypes to api, audit, authenticator, controllerManager and scheduler",
    severity=MEDIUM,
    concerns=is_type(CLUSTER),
    framework=cis("2.1.1"),
    limits={
        "types": {
            "type": "array",
            "items": {"type": "string"},
            "default": ["api", "audit", "authenticator"],
            "description": "The logs that a cluster must write.",
        }
    },
)
def cluster_logs(cluster: Resource, limits: Limits) -> Iterator[Found]:
    """Without the audit log nobody can say who did what."""
    missing = sorted(set(limits["types"]) - set(items(cluster.props.get("enabledClusterLogTypes"))))
    if missing:
        yield f"logs are off: {', '.join(missing)}"


def _volume(volume: Resource) -> Iterator[Found]:
    if not is_true(volume.props.get("encrypted")):
        yield "it is not encrypted"


def _launch_template(template: Resource) -> Iterator[Found]:
    mapped = items(template.props.get("blockDeviceMappings"))
    if not mapped:
        yield NotDecided(f"the volumes of {template.name}: without blockDeviceMappings, image and account decide")
    for mapping in mapped:
        if "ebs" in mapping and not is_true(at(mapping, "ebs.encrypted")):
            yield f"the volume {mapping.get('deviceName')} is not encrypted"


def _instance(instance: Resource) -> Iterator[Found]:
    devices = [("rootBlockDevice", at(instance.props, "rootBlockDevice", {}))]
    devices += [("ebsBlockDevices", device) for device in items(instance.props.get("ebsBlockDevices"))]
    for name, device in devices:
        if not is_true(device.get("encrypted")):
            yield f"{name}.encrypted is not set"


_DEVICES: Mapping[str, Any] = {
    "aws:ebs/volume:Volume": _volume,
    "aws:ec2/launchTemplate:LaunchTemplate": _launch_template,
    "aws:ec2/instance:Instance": _instance,
}


@resource_policy(
    "ebs-encryption",
    "EBS volumes are encrypted, including those of nodes and claims",
    fix="Set encrypted: true (ebs.encrypted in block device mappings, parameters.encrypted: 'true' in a StorageClass)",
    severity=HIGH,
    concerns=either(is_type(*_DEVICES), is_kind("EC2NodeClass", "StorageClass")),
    framework=_AT_REST,
)
def ebs_encryption(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Anyone who gets a snapshot of an unencrypted volume can read it."""
    kind = kind_of(resource)
    if kind == "StorageClass":
        if resource.props.get("provisioner") == "ebs.csi.aws.com" and not is_true(
            at(resource.props, "parameters.encrypted")
        ):
            yield "the volumes of its claims are not encrypted"
    elif kind == "EC2NodeClass":
        for mapping in items(at(resource.props, "spec.blockDeviceMappings")):
            if "ebs" in set(mapping) and not is_true(at(mapping, "ebs.encrypted")):
                yield f"the volume {mapping.get('deviceName')} of its nodes is not encrypted"
    else:
        yield from _DEVICES[resource.resource_type](resource)


@resource_policy(
    "efs-encryption",
    "EFS file systems are encrypted",
    fix="Set encrypted: true; an existing file system must be replaced",
    severity=HIGH,
    concerns=is_type("aws:efs/fileSystem:FileSystem"),
    framework=_AT_REST,
)
def efs_encryption(file_system: Resource, _limits: Limits) -> Iterator[Found]:
    """Homes are stored there."""
    if not is_true(file_system.props.get("encrypted")):
        yield "it is not encrypted, and encryption cannot be turned on later"


@resource_policy(
    "rds-encryption",
    "RDS databases are encrypted",
    fix="Set storageEncrypted: true; an existing database must be replaced",
    severity=HIGH,
    concerns=is_type("aws:rds/instance:Instance", "aws:rds/cluster:Cluster"),
    framework=_AT_REST,
)
def rds_encryption(database: Resource, _limits: Limits) -> Iterator[Found]:
    """Accounts and their credentials are stored there. An instance in a cluster has the cluster's encryption."""
    if not is_true(database.props.get("storageEncrypted")) and not database.props.get("clusterIdentifier"):
        yield "it is not encrypted"


@stack_policy(
    "s3-encryption",
    "An S3 bucket states how it is encrypted",
    fix="Add a BucketServerSideEncryptionConfiguration with rules[].applyServerSideEncryptionByDefault",
    severity=MEDIUM,
    framework=_AT_REST,
)
def s3_encryption(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """By default S3 encrypts with its own keys. Audits want the setting to be explicit."""
    settings = list(stack.of_type(*_BUCKET_ENCRYPTION))
    for bucket in stack.of_type(*BUCKETS):
        if not any(made_from(one, "bucket", bucket) for one in settings):
            yield from about(bucket, _no_encryption(bucket, settings))


def _no_encryption(bucket: Resource, settings: list[Resource]) -> Iterator[Found]:
    if bucket.props.get("serverSideEncryptionConfiguration") or bucket.props.get("serverSideEncryptionConfigurations"):
        return
    # If there is no dependency between the two, compare their names.
    name = bucket.props.get("bucket") if "bucket" in set(bucket.props) else None
    if name is None or name not in [one.props.get("bucket") for one in settings]:
        yield "it has no explicit encryption setting"


@resource_policy(
    "sqs-encryption",
    "SQS queues are encrypted",
    fix="Set sqsManagedSseEnabled: true, or kmsMasterKeyId",
    severity=MEDIUM,
    concerns=is_type("aws:sqs/queue:Queue"),
    framework=_AT_REST,
)
def sqs_encryption(queue: Resource, _limits: Limits) -> Iterator[Found]:
    """Messages contain names of nodes and instances."""
    keys = set(queue.props)
    if not is_true(queue.props.get("sqsManagedSseEnabled")) and "kmsMasterKeyId" not in keys:
        yield "its messages are not encrypted"


_METADATA_TYPES = ("aws:ec2/launchTemplate:LaunchTemplate", "aws:ec2/instance:Instance")
_INSTANCE_PROFILE = best_practices(
    "Security: Identity and access management, restrict access to the instance profile assigned to the worker node"
)


_HAVE_METADATA_OPTIONS = either(is_type(*_METADATA_TYPES), is_kind("EC2NodeClass"))


def _metadata_options(resource: Resource) -> Mapping[str, Any]:
    return at(resource.props, "spec.metadataOptions" if kind_of(resource) else "metadataOptions", {})


@resource_policy(
    "instance-metadata-v1",
    "Instances accept only IMDSv2",
    fix="Set metadataOptions.httpTokens to required",
    severity=HIGH,
    concerns=_HAVE_METADATA_OPTIONS,
    framework=_INSTANCE_PROFILE,
)
def instance_metadata_v1(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """With IMDSv1, a forged request of any process gets the node's credentials. Karpenter's default is IMDSv2."""
    options = _metadata_options(resource)
    default = "required" if kind_of(resource) else "optional"
    if options.get("httpEndpoint") != "disabled" and options.get("httpTokens", default) != "required":
        yield "it accepts IMDSv1"


@resource_policy(
    "instance-metadata-hop-limit",
    "Pods cannot reach the metadata of their instance",
    fix="Set metadataOptions.httpPutResponseHopLimit to 1",
    severity=HIGH,
    concerns=_HAVE_METADATA_OPTIONS,
    framework=_INSTANCE_PROFILE,
)
def instance_metadata_hop_limit(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """With two hops a pod's network reaches the metadata, so a notebook gets the node's credentials."""
    options = _metadata_options(resource)
    hops = number(options.get("httpPutResponseHopLimit"))
    if options.get("httpEndpoint") != "disabled" and hops is not None and hops > 1:
        yield f"httpPutResponseHopLimit is {hops:g}, so pods can get the credentials of their node"


@resource_policy(
    "database-tls",
    "A PostgreSQL parameter group requires TLS",
    fix="Add {name: rds.force_ssl, value: '1'} to parameters",
    severity=MEDIUM,
    concerns=is_type("aws:rds/parameterGroup:ParameterGroup"),
    framework=best_practices("Security: Network security, encryption in transit"),
)
def database_tls(group: Resource, _limits: Limits) -> Iterator[Found]:
    """From PostgreSQL 15 on, RDS requires TLS by default."""
    family = str(group.props.get("family"))
    if not family.startswith("postgres"):
        yield NotDecided(f"whether {group.name} requires TLS: its family is {family}")
        return
    parameters = {str(one.get("name")): str(one.get("value")) for one in items(group.props.get("parameters"))}
    version = number(family.removeprefix("postgres")) or 0
    if parameters.get("rds.force_ssl", "1" if version >= 15 else "0") != "1":
        yield "it accepts connections without TLS"


@resource_policy(
    "efs-without-tls",
    "The policy of a file system denies connections without TLS",
    fix="Add a statement to policy: Effect Deny, Condition Bool aws:SecureTransport false",
    severity=MEDIUM,
    concerns=is_type("aws:efs/fileSystemPolicy:FileSystemPolicy"),
    framework=best_practices("Security: Data encryption and secrets management, encryption in transit"),
)
def efs_without_tls(policy: Resource, _limits: Limits) -> Iterator[Found]:
    """Otherwise homes cross the network unencrypted."""
    document = parsed(str(policy.props.get("policy") or "{}"))
    for statement in items(at(document, "Statement")):
        secure = at(statement, "Condition.Bool", {})
        if statement.get("Effect") == "Deny" and "false" in str(secure.get("aws:SecureTransport")).lower():
            return
    yield "clients can mount without TLS"
