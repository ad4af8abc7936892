"""The functions (invokes) of the aws stand-in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.providers.aws import contract
from rehearsal.providers.aws.clients import Cloud, refusal, tag_map
from rehearsal.providers.aws.configuration import ConfiguredProvider
from rehearsal.providers.protocol.model import Properties, Refused

Function = Callable[[Cloud, Properties], Properties]
_FUNCTIONS: dict[str, Function] = {}
_ZONES_OF_THE_REGION = {"name": "zone-type", "values": ["availability-zone"]}


def function(token: str) -> Callable[[Function], Function]:
    """Registers the decorated function as `token`. The contract has the types of its arguments."""

    def register(carried_out: Function) -> Function:
        _FUNCTIONS[token] = carried_out
        return carried_out

    return register


def call(provider: ConfiguredProvider, token: str, args: Properties) -> Properties:
    """The result of the function `token`. Raises Refused if it is unknown or its arguments are wrong."""
    if token not in _FUNCTIONS:
        raise Refused(
            f"the rehearsal's aws provider does not support the function {token}: add it to"
            " rehearsal/providers/aws/functions.py, then run `python -m rehearsal.providers.aws.distill`"
        )
    args = {name: value for name, value in args.items() if value is not None}
    shape = contract.shape(token)
    Refused.all(shape.problems(args))
    cloud = provider.cloud(args.get("region"))
    region = {"region": cloud.region} if "region" in shape.outputs else {}
    try:
        return {**args, **region, **_FUNCTIONS[token](cloud, args)}
    except ClientError as error:
        raise refusal(error) from error


@function("aws:index/getCallerIdentity:getCallerIdentity")
def get_caller_identity(cloud: Cloud, args: Properties) -> Properties:
    """The owner of the credentials."""
    who = cloud.identity
    return {"id": who["Account"], "accountId": who["Account"], "arn": who["Arn"], "userId": who["UserId"]}


@function("aws:index/getPartition:getPartition")
def get_partition(cloud: Cloud, args: Properties) -> Properties:
    """The partition of the region."""
    china = cloud.partition == "aws-cn"
    return {
        "id": cloud.partition,
        "partition": cloud.partition,
        "dnsSuffix": "amazonaws.com.cn" if china else "amazonaws.com",
        "reverseDnsPrefix": "cn.com.amazonaws" if china else "com.amazonaws",
    }


@function("aws:index/getRegion:getRegion")
def get_region(cloud: Cloud, args: Properties) -> Properties:
    """The given region, or that of the provider."""
    found = cloud.ec2.describe_regions(RegionNames=[cloud.region])["Regions"][0]
    return {
        "id": cloud.region,
        "name": cloud.region,
        "endpoint": found["Endpoint"],
        "description": cloud.description,
    }


@function("aws:index/getAvailabilityZones:getAvailabilityZones")
def get_availability_zones(cloud: Cloud, args: Properties) -> Properties:
    """The region's zones, by name and id in the same order."""
    if args.get("filters", [_ZONES_OF_THE_REGION]) != [_ZONES_OF_THE_REGION]:
        raise Refused(f"the simulated AWS filters availability zones only by {_ZONES_OF_THE_REGION}", "filters")
    if args.get("state", "available") != "available":
        raise Refused("the simulated AWS has only available zones", "state")
    leave_out = {*args.get("excludeNames", []), *args.get("excludeZoneIds", [])}
    zones = {name: id for name, id in sorted(cloud.zones.items()) if not {name, id} & leave_out}
    return {
        "id": cloud.region,
        "names": list(zones),
        "zoneIds": list(zones.values()),
        "groupNames": [cloud.region],
    }


@function("aws:ssm/getParameter:getParameter")
def get_parameter(cloud: Cloud, args: Properties) -> Properties:
    """A parameter. It is decrypted unless `withDecryption` is false."""
    decrypt = args.get("withDecryption", True)
    found = cloud.client("ssm").get_parameter(Name=_required(args, "name"), WithDecryption=decrypt)["Parameter"]
    return {
        "id": found["Name"],
        **_same(found, "name arn type value version"),
        "insecureValue": found["Value"] if found["Type"] != "SecureString" else "",
        "withDecryption": decrypt,
    }


@function("aws:secretsmanager/getSecretVersion:getSecretVersion")
def get_secret_version(cloud: Cloud, args: Properties) -> Properties:
    """A version of a secret; the current one by default."""
    secret = _required(args, "secretId")
    which = {"VersionId": args["versionId"]} if args.get("versionId") else {}
    stage = {} if which else {"VersionStage": args.get("versionStage", "AWSCURRENT")}
    found = cloud.client("secretsmanager").get_secret_value(SecretId=secret, **which, **stage)
    return {
        "id": f"{secret}|{args.get('versionStage', 'AWSCURRENT')}",
        "arn": found["ARN"],
        "secretArn": found["ARN"],
        "secretString": found.get("SecretString", ""),
        "versionId": found["VersionId"],
        "versionStages": found["VersionStages"],
    }


@function("aws:eks/getAddonVersion:getAddonVersion")
def get_addon_version(cloud: Cloud, args: Properties) -> Properties:
    """The default version of an addon for a Kubernetes version, or the newest."""
    addon, kubernetes = _required(args, "addonName"), _required(args, "kubernetesVersion")
    pages = cloud.client("eks").describe_addon_versions(addonName=addon, kubernetesVersion=kubernetes)["addons"]
    versions = [
        version
        for found in pages
        for version in found["addonVersions"]
        if any(match["clusterVersion"] == kubernetes for match in version["compatibilities"])
    ]
    if not versions:
        raise Refused(f"no version of addon {addon} was found for Kubernetes {kubernetes}", "addonName")
    newest = max(versions, key=lambda version: [int(part) for part in re.findall(r"\d+", version["addonVersion"])])
    default = next((version for version in versions if _is_default(version, kubernetes)), newest)
    chosen = newest if args.get("mostRecent") else default
    return {"id": addon, "version": chosen["addonVersion"]}


def _is_default(version: dict[str, Any], kubernetes: str) -> bool:
    return any(
        match.get("defaultVersion") for match in version["compatibilities"] if match["clusterVersion"] == kubernetes
    )


@function("aws:eks/getCluster:getCluster")
def get_cluster(cloud: Cloud, args: Properties) -> Properties:
    """A cluster's endpoint, certificate, identity, version and network."""
    found = cloud.client("eks").describe_cluster(name=_required(args, "name"))["cluster"]
    return {
        "id": found["name"],
        **_same(found, "arn endpoint roleArn status version platformVersion"),
        "certificateAuthorities": [{"data": found["certificateAuthority"]["data"]}],
        "identities": [{"oidcs": [{"issuer": found["identity"]["oidc"]["issuer"]}]}],
        "tags": found.get("tags", {}),
        "vpcConfig": _same(
            found["resourcesVpcConfig"],
            "vpcId subnetIds securityGroupIds clusterSecurityGroupId endpointPrivateAccess endpointPublicAccess"
            " publicAccessCidrs",
        ),
    }


@function("aws:ec2/getAmi:getAmi")
def get_ami(cloud: Cloud, args: Properties) -> Properties:
    """The only machine image that matches."""
    filters = [{"Name": given["name"], "Values": given["values"]} for given in args.get("filters", [])]
    images = cloud.ec2.describe_images(
        Owners=args.get("owners", []), Filters=filters, IncludeDeprecated=bool(args.get("includeDeprecated"))
    )["Images"]
    if args.get("mostRecent"):
        images = sorted(images, key=lambda image: image["CreationDate"])[-1:]
    if len(images) != 1:
        found = "more than one result" if images else "no results"
        raise Refused(f"Your query returned {found}. Please change your search criteria and try again.")
    (image,) = images
    return {
        "id": image["ImageId"],
        **_same(image, "imageId architecture name ownerId rootDeviceName"),
    }


@function("aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings")
def get_instance_type_offerings(cloud: Cloud, args: Properties) -> Properties:
    """The instance types that are available in each location, as three lists in the same order."""
    filters = [{"Name": given["name"], "Values": given["values"]} for given in args.get("filters", [])]
    location = args.get("locationType", "region")
    pages = cloud.ec2.get_paginator("describe_instance_type_offerings").paginate(LocationType=location, Filters=filters)
    found = [offer for page in pages for offer in page["InstanceTypeOfferings"]]
    return {
        "id": cloud.region,
        "instanceTypes": [offer["InstanceType"] for offer in found],
        "locations": [offer["Location"] for offer in found],
        "locationTypes": [offer["LocationType"] for offer in found],
    }


@function("aws:servicequotas/getServiceQuota:getServiceQuota")
def get_service_quota(cloud: Cloud, args: Properties) -> Properties:
    """A quota of a service by its code: its value in the account, and its default."""
    service, code = _required(args, "serviceCode"), _required(args, "quotaCode")
    client = cloud.client("service-quotas")
    applied = client.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
    default = client.get_aws_default_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
    return {
        "id": applied["QuotaArn"],
        "arn": applied["QuotaArn"],
        **_same(applied, "adjustable globalQuota quotaName serviceName value"),
        "quotaCode": code,
        "serviceCode": service,
        "defaultValue": default["Value"],
        "usageMetrics": [],
    }


@function("aws:ec2/getSubnet:getSubnet")
def get_subnet(cloud: Cloud, args: Properties) -> Properties:
    """A subnet by its id."""
    found = cloud.ec2.describe_subnets(SubnetIds=[_required(args, "id")])["Subnets"][0]
    return {
        "id": found["SubnetId"],
        **_same(found, "vpcId cidrBlock availabilityZone availabilityZoneId mapPublicIpOnLaunch"),
        "availableIpAddressCount": found["AvailableIpAddressCount"],
        "tags": tag_map(found.get("Tags")),
    }


def _same(found: dict[str, Any], names: str) -> Properties:
    """The properties that have the same name in AWS, in another case."""
    members = {key.lower(): value for key, value in found.items()}
    return {name: members[name.lower()] for name in names.split()}


def _required(args: Properties, name: str) -> Any:
    if name not in args:
        raise Refused(f"{name} is needed", name)
    return args[name]
