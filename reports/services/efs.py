"""Amazon EFS."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.resources import number
from reports.account import Account, Held
from reports.aws_type import AwsType, ByTags, Inputs
from reports.aws_type.listing import inline_tags, listing
from reports.aws_type.pricing import Facts, by_use, free, monthly
from reports.aws_type.steps import Gone, Steps, by_command

_PRICING = "https://aws.amazon.com/efs/pricing/"


def _remove_file_system(account: Account, held: Held) -> Steps:
    named = ["--file-system-id", held.id]
    targets = list(account.pages("efs", "describe_mount_targets", "MountTargets", FileSystemId=held.id))
    for target in targets:
        yield ["aws", "efs", "delete-mount-target", "--mount-target-id", target["MountTargetId"]]
    if targets:
        yield Gone(["aws", "efs", "describe-mount-targets", *named], "MountTargets")
    yield ["aws", "efs", "delete-file-system", *named]


def _mount_targets(account: Account, inputs: Inputs) -> Iterator[str]:
    found = account.client("efs").describe_mount_targets(FileSystemId=inputs["fileSystemId"])["MountTargets"]
    yield from (target["MountTargetId"] for target in found if target["SubnetId"] == inputs["subnetId"])


def _file_system_price(facts: Facts) -> tuple[float, str]:
    if facts.get("throughputMode", "bursting") != "provisioned":
        return 0.0, "a file system without what it stores and carries"
    provisioned = number(facts.get("provisionedThroughputInMibps")) or 0
    what = f"{provisioned:g} MiB/s of provisioned throughput, without what is stored"
    return provisioned * monthly("efsMiBps"), what


TYPES = (
    AwsType(
        type="aws:efs/accessPoint:AccessPoint",
        listing=listing(
            "efs", "describe_access_points", "AccessPoints", "AccessPointId", inline_tags("Tags"), name_key="Name"
        ),
        owner_key="FileSystemId",
        remove=by_command("efs", "delete-access-point", "--access-point-id"),
        after=("eks clusters",),
        lookup=ByTags(),
        bill=free(_PRICING),
    ),
    AwsType(type="aws:efs/backupPolicy:BackupPolicy", id="{fileSystemId}", bill=free(_PRICING)),
    AwsType(
        type="aws:efs/fileSystem:FileSystem",
        listing=listing(
            "efs",
            "describe_file_systems",
            "FileSystems",
            "FileSystemId",
            inline_tags("Tags"),
            name_key="CreationToken",
        ),
        has_user_data=True,
        remove=_remove_file_system,
        after=("efs AccessPoints",),
        actions=("elasticfilesystem:DescribeMountTargets",),
        lookup=ByTags(input="creationToken", key="CreationToken"),
        price=_file_system_price,
        bill=by_use(f"{_PRICING}: by GB-month, beside throughput that is provisioned"),
    ),
    AwsType(type="aws:efs/fileSystemPolicy:FileSystemPolicy", id="{fileSystemId}", bill=free(_PRICING)),
    AwsType(type="aws:efs/mountTarget:MountTarget", lookup=_mount_targets, bill=free(_PRICING)),
)
