"""Amazon EBS: volumes, their snapshots, and fast snapshot restores."""

from __future__ import annotations

from policies.reading.resources import number
from reports.account import Account, Held, Raw, tag_map
from reports.aws_type import AwsType
from reports.aws_type.listing import inline_tags, listing, no_tags
from reports.aws_type.pricing import Facts, NoPrice, gp3
from reports.aws_type.steps import Steps, by_command

_BACKUP_TAG = "aws:backup:source-resource"


def _is_deleted_with_its_instance(raw: Raw) -> bool:
    return any(attachment.get("DeleteOnTermination") for attachment in raw.get("Attachments", []))


def _is_a_recovery_point(raw: Raw) -> bool:
    """Whether the snapshot is a recovery point of AWS Backup: EC2 refuses to delete it."""
    return _BACKUP_TAG in tag_map(raw.get("Tags"))


def _remove_volume(_account: Account, held: Held) -> Steps:
    if held.state == "in-use":  # by an instance that is deleted before it
        yield ["aws", "ec2", "wait", "volume-available", "--volume-ids", held.id]
    yield ["aws", "ec2", "delete-volume", "--volume-id", held.id]


def _remove_fast_restore(_account: Account, held: Held) -> Steps:
    zone = held.raw["AvailabilityZone"]
    named = ["--availability-zones", zone, "--source-snapshot-ids", held.id]
    yield ["aws", "ec2", "disable-fast-snapshot-restores", *named]


def _volume_price(facts: Facts) -> tuple[float, str]:
    size, kind = number(facts.get("size")) or 0, facts.get("type", "gp2")
    if kind != "gp3":
        raise NoPrice(f"no price of {kind} volumes is known")
    volume = {key: facts.get(key) for key in ("size", "iops", "throughput")}
    return gp3(volume, "size"), f"{size:g} GiB of gp3"


TYPES = (
    AwsType(
        type="aws:ebs/fastSnapshotRestore:FastSnapshotRestore",
        listing=listing("ec2", "describe_fast_snapshot_restores", "FastSnapshotRestores", "SnapshotId", no_tags),
        owner_key="SnapshotId",
        remove=_remove_fast_restore,
        if_made_again="accepted",
    ),
    AwsType(
        listing=listing("ec2", "describe_snapshots", "Snapshots", "SnapshotId", inline_tags("Tags"), OwnerIds=["self"]),
        goes_with_owner=_is_a_recovery_point,
        remove=by_command("ec2", "delete-snapshot", "--snapshot-id"),
        after=("backup BackupVaultList", "ec2 FastSnapshotRestores"),
    ),
    AwsType(
        type="aws:ebs/volume:Volume",
        listing=listing("ec2", "describe_volumes", "Volumes", "VolumeId", inline_tags("Tags")),
        goes_with_owner=_is_deleted_with_its_instance,
        remove=_remove_volume,
        after=("ec2 Instances", "eks clusters"),
        price=_volume_price,
    ),
)
