"""Amazon RDS."""

from __future__ import annotations

from collections.abc import Iterator

import contracts
from policies.reading.resources import number
from reports.account import Account, Held, Raw
from reports.aws_type import AwsType, Inputs
from reports.aws_type.listing import inline_tags, listing, tags_by_call
from reports.aws_type.pricing import Facts, NoPrice, by_use, free, monthly
from reports.aws_type.steps import Steps, by_command

_PRICING = "https://aws.amazon.com/rds/postgresql/pricing/"


def _is_automated(raw: Raw) -> bool:
    return raw.get("SnapshotType") == "automated"


def _remove(account: Account, held: Held) -> Steps:
    yield from _remove_instance(held, ["--skip-final-snapshot"])


def _remove_with_snapshot(account: Account, held: Held, snapshot: str) -> Steps:
    yield from _remove_instance(held, ["--final-db-snapshot-identifier", snapshot])


def _remove_instance(held: Held, snapshot: list[str]) -> Steps:
    named = ["--db-instance-identifier", held.id]
    if held.raw.get("DeletionProtection"):
        yield ["aws", "rds", "modify-db-instance", *named, "--no-deletion-protection", "--apply-immediately"]
        yield ["aws", "rds", "wait", "db-instance-available", *named]
    yield ["aws", "rds", "delete-db-instance", *named, *snapshot, "--delete-automated-backups"]
    yield ["aws", "rds", "wait", "db-instance-deleted", *named]


def _instances(account: Account, inputs: Inputs) -> Iterator[str]:
    for found in account.pages("rds", "describe_db_instances", "DBInstances"):
        if found["DBInstanceIdentifier"] == inputs["identifier"]:
            yield found["DbiResourceId"]


def _instance_price(facts: Facts) -> tuple[float, str]:
    engine, name = facts.get("engine", "postgres"), facts.get("instanceClass", "")
    price = contracts.service_prices().postgres.get(name)
    if price is None or engine != "postgres":
        raise NoPrice(f"no price of {name} for {engine} is known")
    if facts.get("storageType", "gp3") != "gp3":
        raise NoPrice(f"no price of {facts.get('storageType')} storage is known")
    if facts.get("iops"):
        raise NoPrice("provisioned IOPS of a database")
    size = number(facts.get("allocatedStorage")) or 0
    # "Multi-AZ deployments": a standby, with storage of its own.
    copies = 2 if facts.get("multiAz", False) is True else 1
    what = f"{name} with {size:g} GiB" + (" in two zones" if copies > 1 else "")
    return copies * (price + size * monthly("rdsGp3GiB")), what


TYPES = (
    AwsType(
        type="aws:rds/instance:Instance",
        listing=listing("rds", "describe_db_instances", "DBInstances", "DBInstanceIdentifier", inline_tags("TagList")),
        remove=_remove,
        remove_with_snapshot=_remove_with_snapshot,
        after=("eks clusters",),
        lookup=_instances,
        price=_instance_price,
    ),
    AwsType(
        type="aws:rds/snapshot:Snapshot",
        listing=listing("rds", "describe_db_snapshots", "DBSnapshots", "DBSnapshotIdentifier", inline_tags("TagList")),
        goes_with_owner=_is_automated,
        remove=by_command("rds", "delete-db-snapshot", "--db-snapshot-identifier"),
        after=("rds DBInstances",),
        id="{dbSnapshotIdentifier}",
        bill=by_use(f"{_PRICING}: by GB-month above the size of the database"),
    ),
    AwsType(
        type="aws:rds/parameterGroup:ParameterGroup",
        listing=listing(
            "rds",
            "describe_db_parameter_groups",
            "DBParameterGroups",
            "DBParameterGroupName",
            tags_by_call("list_tags_for_resource", "TagList", ResourceName="DBParameterGroupArn"),
            "ListTagsForResource",
        ),
        remove=by_command("rds", "delete-db-parameter-group", "--db-parameter-group-name"),
        after=("rds DBInstances",),
        id="{name}",
        bill=free(_PRICING),
    ),
    AwsType(
        type="aws:rds/subnetGroup:SubnetGroup",
        listing=listing(
            "rds",
            "describe_db_subnet_groups",
            "DBSubnetGroups",
            "DBSubnetGroupName",
            tags_by_call("list_tags_for_resource", "TagList", ResourceName="DBSubnetGroupArn"),
            "ListTagsForResource",
        ),
        remove=by_command("rds", "delete-db-subnet-group", "--db-subnet-group-name"),
        after=("rds DBInstances",),
        id="{name}",
        bill=free(_PRICING),
    ),
)
