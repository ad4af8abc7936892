"""`python -m reports.interrupted STACK`: takes what an interrupted `pulumi up` made and did not note into the state.

When the engine ends between asking the cloud for a resource and noting it down, the state has a pending operation
without an id, and the next `pulumi up` makes the resource once more: a second VPC, a second NAT gateway. This command
reads a state on standard input and writes it to standard output with each such resource under its id:

    pulumi stack export | python -m reports.interrupted STACK | pulumi stack import
    pulumi up --refresh

The id is the resource's name where its type says so, else that of the one thing in the account with the resource's
tags that the state does not have. The refresh reads each by its id, and lets go what was not made after all.

Exit status 0; 1, with no state written, when a resource can't be told from others; 2 when the account can't be asked
or what stands on standard input is no state. What was found is said on standard error.
"""

from __future__ import annotations

import argparse
import json
import string
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from settings import SettingsError, StackFileError

from .account import LISTINGS, Account, Held, tag_map
from .inputs import parsed, text_of
from .leftovers import add_endpoint, stack_settings

OK, UNCLEAR, NOT_LOOKED_AT = 0, 1, 2
_CREATING = "creating"

Inputs = Mapping[str, Any]

# Resources whose id follows from their inputs (the section "Import" of each in the Pulumi Registry).
_NAMED: dict[str, str] = {
    "aws:backup/vault:Vault": "{name}",
    "aws:cloudwatch/logGroup:LogGroup": "{name}",
    "aws:cloudwatch/eventRule:EventRule": "{name}",
    "aws:ec2/tag:Tag": "{resourceId},{key}",
    "aws:ecr/pullThroughCacheRule:PullThroughCacheRule": "{ecrRepositoryPrefix}",
    "aws:ecr/repository:Repository": "{name}",
    "aws:efs/backupPolicy:BackupPolicy": "{fileSystemId}",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "{fileSystemId}",
    "aws:eks/accessEntry:AccessEntry": "{clusterName}:{principalArn}",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "{clusterName}#{principalArn}#{policyArn}",
    "aws:eks/addon:Addon": "{clusterName}:{addonName}",
    "aws:eks/cluster:Cluster": "{name}",
    "aws:eks/nodeGroup:NodeGroup": "{clusterName}:{nodeGroupName}",
    "aws:iam/instanceProfile:InstanceProfile": "{name}",
    "aws:iam/role:Role": "{name}",
    "aws:iam/rolePolicy:RolePolicy": "{role}:{name}",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "{role}/{policyArn}",
    "aws:kms/keyPolicy:KeyPolicy": "{keyId}",
    "aws:rds/parameterGroup:ParameterGroup": "{name}",
    "aws:rds/snapshot:Snapshot": "{dbSnapshotIdentifier}",
    "aws:rds/subnetGroup:SubnetGroup": "{name}",
    "aws:s3/bucket:Bucket": "{bucket}",
    "aws:s3/bucketPolicy:BucketPolicy": "{bucket}",
    "aws:sqs/queuePolicy:QueuePolicy": "{queueUrl}",
}
# Resources to which AWS gives an id: the listing of their kind, and the input that is its name, where it has one.
_TAGGED: dict[str, tuple[str, str, str | None]] = {
    "aws:acm/certificate:Certificate": ("acm", "CertificateSummaryList", "domainName"),
    "aws:backup/plan:Plan": ("backup", "BackupPlansList", "name"),
    "aws:ec2/eip:Eip": ("ec2", "Addresses", None),
    "aws:ec2/flowLog:FlowLog": ("ec2", "FlowLogs", None),
    "aws:ec2/instance:Instance": ("ec2", "Instances", None),
    "aws:ec2/internetGateway:InternetGateway": ("ec2", "InternetGateways", None),
    "aws:ec2/launchTemplate:LaunchTemplate": ("ec2", "LaunchTemplates", "name"),
    "aws:ec2/natGateway:NatGateway": ("ec2", "NatGateways", None),
    "aws:ec2/routeTable:RouteTable": ("ec2", "RouteTables", None),
    "aws:ec2/securityGroup:SecurityGroup": ("ec2", "SecurityGroups", "name"),
    "aws:ec2/subnet:Subnet": ("ec2", "Subnets", None),
    "aws:ec2/vpc:Vpc": ("ec2", "Vpcs", None),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("ec2", "VpcEndpoints", None),
    "aws:efs/accessPoint:AccessPoint": ("efs", "AccessPoints", None),
    "aws:efs/fileSystem:FileSystem": ("efs", "FileSystems", "creationToken"),
    "aws:iam/policy:Policy": ("iam", "Policies", "name"),
    # With a name of its own it is among those above.
    "aws:iam/role:Role": ("iam", "Roles", "name"),
    "aws:kms/key:Key": ("kms", "Keys", "description"),
    "aws:lb/loadBalancer:LoadBalancer": ("elbv2", "LoadBalancers", "name"),
    "aws:lb/targetGroup:TargetGroup": ("elbv2", "TargetGroups", "name"),
    "aws:sqs/queue:Queue": ("sqs", "QueueUrls", "name"),
}
_NAME_KEYS = (
    "DomainName",
    "BackupPlanName",
    "LaunchTemplateName",
    "GroupName",
    "CreationToken",
    "PolicyName",
    "RoleName",
    "Description",
    "LoadBalancerName",
    "TargetGroupName",
)


class UnclearError(Exception):
    """Several things in the account could be the resource. The message names them."""


# What AWS takes twice, or keeps one of for each thing that it is set on.
_TWICE = frozenset(
    {
        "aws:acm/certificateValidation:CertificateValidation",
        "aws:ebs/fastSnapshotRestore:FastSnapshotRestore",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "aws:s3/bucketVersioning:BucketVersioning",
        "aws:wafv2/webAclAssociation:WebAclAssociation",
    }
)
# What AWS has one of, and refuses to make again: the next update names it, and it is deleted by hand.
_REFUSED = frozenset(
    {
        "aws:ec2/securityGroupRule:SecurityGroupRule",
        "aws:eks/identityProviderConfig:IdentityProviderConfig",
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        "aws:iam/serviceLinkedRole:ServiceLinkedRole",
        "aws:lb/listener:Listener",
        "aws:lb/listenerRule:ListenerRule",
        "aws:route53/record:Record",
    }
)


@dataclass(frozen=True)
class Finding:
    """What became of a pending create: `id` where it goes into the state, None where it is made anew."""

    urn: str
    id: str | None
    why: str

    def __str__(self) -> str:
        kind, name = self.urn.split("::")[2:4]
        return f"{kind.rpartition('$')[2]} {name}: {self.why}"


def repaired(deployment: dict[str, Any], account: Account) -> tuple[dict[str, Any], list[Finding]]:
    """The `deployment` of a state with its pending creates as resources, and what was found of each.

    Raises UnclearError, and botocore's ClientError where the account refuses to be asked.
    """
    resources = list(deployment.get("resources") or [])
    known = {str(one["id"]) for one in resources if one.get("id")}
    urns = {one["urn"] for one in resources}
    findings = []
    for operation in deployment.get("pending_operations") or []:
        if operation["type"] != _CREATING:
            continue  # what was there before is in the state, and a refresh looks at it
        resource = operation["resource"]
        gone = _gone_before_its_replacement(resources, resource["urn"])
        if resource["urn"] in urns and gone is None:
            # It was made after all, or it was to take the place of the one in the state.
            if first := _looked_up(resource, account, known):
                raise _unclear(resource, [*first, "the one in the state"])
            findings.append(Finding(resource["urn"], None, "in the state since"))
            continue
        id, why = _found(resource, account, known - {gone["id"]} if gone else known)
        findings.append(Finding(resource["urn"], id, why))
        if id is not None:
            urns.add(resource["urn"])
            known.add(id)
            # Read with outputs, a resource keeps the inputs that the program gave; without, it would be an import, to
            # which the provider's own choices (a gateway's address) come as inputs that the program does not give.
            outputs = resource.get("inputs") or {} if resource["type"].startswith("aws:") else {}
            taken = {**resource, "id": id, "outputs": outputs}
            if gone is None:
                resources.append(taken)
            else:
                # In its place, as what is made of it comes after it.
                resources[resources.index(gone)] = taken
    return {**deployment, "resources": resources, "pending_operations": []}, findings


def _gone_before_its_replacement(resources: Sequence[Any], urn: str) -> Any:
    """What the state remembers of a resource that was deleted so that another could take its name, or None."""
    return next((one for one in resources if one["urn"] == urn and one.get("pendingReplacement")), None)


def _found(resource: Mapping[str, Any], account: Account, known: set[str]) -> tuple[str | None, str]:
    """The id of a resource, and how it was found."""
    kind, inputs = resource["type"], resource.get("inputs") or {}
    template = _NAMED.get(kind)
    if kind.startswith("kubernetes:") and not kind.endswith("Patch"):
        ids = _kubernetes_ids(inputs)
    elif template and _fields(template) <= set(inputs):
        ids = [template.format_map(inputs)]
    elif kind in _TAGGED or kind in _LINKS:
        ids = _looked_up(resource, account, known)
    elif kind.startswith("aws:") and kind not in _TWICE:
        return None, "its id can't be told; if the next update says that it exists already, delete it"
    else:
        return None, "can be made twice, or exists in the state alone; made anew"
    if len(ids) > 1:
        raise _unclear(resource, ids)
    return (ids[0], f"taken as {ids[0]}") if ids else (None, "was not made; made anew")


def _looked_up(resource: Mapping[str, Any], account: Account, known: set[str]) -> list[str]:
    """The ids of what the account has that could be the resource, and the state does not have."""
    kind, inputs = resource["type"], resource.get("inputs") or {}
    found: Iterator[str] = iter(())
    if kind in _TAGGED:
        found = (held.id for held in _candidates(account, _TAGGED[kind], inputs))
    elif kind in _LINKS:
        found = _LINKS[kind](account, inputs)
    return [id for id in found if id not in known]


def _unclear(resource: Mapping[str, Any], ids: Sequence[str]) -> UnclearError:
    finding = Finding(resource["urn"], None, f"could be each of {', '.join(ids)}")
    return UnclearError(f"{finding}. Delete those that are too many (`python -m reports.leftovers` has the lines).")


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def is_decided(kind: str) -> bool:
    """Whether it is known what becomes of a resource of AWS that was being made."""
    return kind in _NAMED or kind in _TAGGED or kind in _LINKS or kind in _TWICE or kind in _REFUSED


def _kubernetes_ids(inputs: Inputs) -> list[str]:
    """The id of an object, or of a Helm release."""
    metadata = inputs.get("metadata") or inputs
    name, namespace = metadata.get("name"), metadata.get("namespace")
    return [f"{namespace}/{name}" if namespace else name] if name else []


def _candidates(account: Account, where: tuple[str, str, str | None], inputs: Inputs) -> Iterator[Held]:
    """The things of a kind with all the tags that the resource was to have; its name, or how it begins, where given."""
    service, kind, name_key = where
    (listing,) = (one for one in LISTINGS if (one.service, one.kind) == (service, kind))
    wanted = inputs.get("tagsAll") or inputs.get("tags") or {}
    name, prefix = (inputs.get(name_key), inputs.get(f"{name_key}Prefix", "")) if name_key else (None, "")
    for held in account.listed(listing):
        if held.is_gone or held.is_scheduled or held.is_going:
            continue
        if not any(one == name if name else one.startswith(prefix) for one in _names(held)):
            continue
        if wanted.items() <= dict(listing.tags(account, held)).items():
            yield held


def _names(held: Held) -> Iterator[str]:
    yield held.id.rpartition("/")[2]
    yield from (held.raw[key] for key in _NAME_KEYS if isinstance(held.raw.get(key), str))


def _associations(account: Account, inputs: Inputs) -> Iterator[str]:
    tables = account.client("ec2").describe_route_tables(RouteTableIds=[inputs["routeTableId"]])["RouteTables"]
    for one in (association for table in tables for association in table["Associations"]):
        if one.get("SubnetId", "") == inputs.get("subnetId"):
            yield one["RouteTableAssociationId"]


def _ranges(account: Account, inputs: Inputs) -> Iterator[str]:
    for vpc in account.client("ec2").describe_vpcs(VpcIds=[inputs["vpcId"]])["Vpcs"]:
        for one in vpc["CidrBlockAssociationSet"]:
            if one["CidrBlock"] == inputs.get("cidrBlock") and one["CidrBlockState"]["State"] == "associated":
                yield one["AssociationId"]


def _mount_targets(account: Account, inputs: Inputs) -> Iterator[str]:
    found = account.client("efs").describe_mount_targets(FileSystemId=inputs["fileSystemId"])["MountTargets"]
    yield from (one["MountTargetId"] for one in found if one["SubnetId"] == inputs["subnetId"])


def _pod_identities(account: Account, inputs: Inputs) -> Iterator[str]:
    found = account.client("eks").list_pod_identity_associations(
        clusterName=inputs["clusterName"], namespace=inputs["namespace"], serviceAccount=inputs["serviceAccount"]
    )
    yield from (one["associationId"] for one in found["associations"])


def _routes(_account: Account, inputs: Inputs) -> Iterator[str]:
    """The provider's own way to name a route; the refresh sees whether it is there."""
    destination = inputs.get("destinationCidrBlock") or inputs.get("destinationIpv6CidrBlock") or ""
    yield f"r-{inputs['routeTableId']}{zlib.crc32(destination.encode())}"


def _rules(account: Account, inputs: Inputs) -> Iterator[str]:
    in_group = [{"Name": "group-id", "Values": [inputs["securityGroupId"]]}]
    for one in account.pages("ec2", "describe_security_group_rules", "SecurityGroupRules", Filters=in_group):
        # A rule of all protocols has the ports -1 in EC2, and none in the program.
        ports = one.get("FromPort", -1), one.get("ToPort", -1)
        alike = ports == (inputs.get("fromPort", -1), inputs.get("toPort", -1)) and (
            one.get("CidrIpv4") == inputs.get("cidrIpv4")
            and one.get("ReferencedGroupInfo", {}).get("GroupId") == inputs.get("referencedSecurityGroupId")
        )
        if alike and (inputs.get("tagsAll") or {}).items() <= tag_map(one.get("Tags")).items():
            yield one["SecurityGroupRuleId"]


def _targets(account: Account, inputs: Inputs) -> Iterator[str]:
    for one in account.client("events").list_targets_by_rule(Rule=inputs["rule"])["Targets"]:
        if one["Arn"] == inputs["arn"]:
            yield f"{inputs['rule']}-{one['Id']}"


def _selections(account: Account, inputs: Inputs) -> Iterator[str]:
    for one in account.pages("backup", "list_backup_selections", "BackupSelectionsList", BackupPlanId=inputs["planId"]):
        if one["SelectionName"] == inputs["name"]:
            yield one["SelectionId"]


def _aliases(account: Account, inputs: Inputs) -> Iterator[str]:
    """Those of the key with the name; where that was to be the provider's choice, with how it begins."""
    name, prefix = inputs.get("name"), inputs.get("namePrefix")
    for one in account.pages("kms", "list_aliases", "Aliases", KeyId=inputs["targetKeyId"]):
        if one["AliasName"] == name or (not name and prefix and one["AliasName"].startswith(prefix)):
            yield one["AliasName"]


def _databases(account: Account, inputs: Inputs) -> Iterator[str]:
    for one in account.pages("rds", "describe_db_instances", "DBInstances"):
        if one["DBInstanceIdentifier"] == inputs["identifier"]:
            yield one["DbiResourceId"]


_LINKS: dict[str, Callable[[Account, Inputs], Iterator[str]]] = {
    "aws:backup/selection:Selection": _selections,
    "aws:cloudwatch/eventTarget:EventTarget": _targets,
    "aws:ec2/route:Route": _routes,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _associations,
    "aws:ec2/vpcIpv4CidrBlockAssociation:VpcIpv4CidrBlockAssociation": _ranges,
    "aws:efs/mountTarget:MountTarget": _mount_targets,
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": _pod_identities,
    "aws:kms/alias:Alias": _aliases,
    "aws:rds/instance:Instance": _databases,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _rules,
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _rules,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        state = parsed(text_of("-", "standard input"), "standard input")
        region = stack_settings(options.stack).region
        account = Account(boto3.Session(region_name=region), options.endpoint_url)
        deployment, findings = repaired(state["deployment"], account)
    except UnclearError as error:
        print(error, file=sys.stderr)
        return UNCLEAR
    except (SettingsError, StackFileError, BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return NOT_LOOKED_AT
    except (ValueError, KeyError, TypeError) as error:
        print(f"standard input is no state: {error!r}. Pipe `pulumi stack export` into this command.", file=sys.stderr)
        return NOT_LOOKED_AT
    for finding in findings:
        print(finding, file=sys.stderr)
    if not findings:
        print("Nothing was interrupted while it was made.", file=sys.stderr)
    json.dump({**state, "deployment": deployment}, sys.stdout, indent=4)
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports.interrupted",
        description="Takes what an interrupted `pulumi up` made and did not note into the state on standard input.",
    )
    parser.add_argument("stack", metavar="STACK", help="a stack (dev), or its file")
    add_endpoint(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
