"""The functions (invokes) of the aws stand-in."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from rehearsal.providers.aws import contract
from rehearsal.providers.aws.cloud import Cloud, refusal, tag_map
from rehearsal.providers.serving import Properties, Refused

if TYPE_CHECKING:
    from rehearsal.providers.aws.provider import AwsProvider

Function = Callable[[Cloud, Properties], Properties]
_FUNCTIONS: dict[str, Function] = {}
_ZONES_OF_THE_REGION = {"name": "zone-type", "values": ["availability-zone"]}


def function(token: str) -> Callable[[Function], Function]:
    """Registers what it decorates as the function `token`; required arguments and types are the contract's."""

    def register(carried_out: Function) -> Function:
        _FUNCTIONS[token] = carried_out
        return carried_out

    return register


def call(provider: AwsProvider, token: str, args: Properties) -> Properties:
    """The result of the function `token`. Raises Refused: not modelled, wrong arguments, or AWS's own refusal."""
    if token not in _FUNCTIONS:
        raise Refused(
            f"the rehearsal's aws provider does not model the function {token}: name it in "
            "rehearsal/providers/aws/distill.py, run `python -m rehearsal.providers.aws.distill`, and carry it out in "
            "rehearsal/providers/aws/functions.py"
        )
    args = {name: value for name, value in args.items() if value is not None}
    Refused.all(contract.shape(token).problems(args))
    cloud = provider.cloud(args.get("region"))
    try:
        return {**args, **_FUNCTIONS[token](cloud, args)}
    except ClientError as error:
        raise refusal(error) from error


@function("aws:index/getCallerIdentity:getCallerIdentity")
def get_caller_identity(cloud: Cloud, args: Properties) -> Properties:
    """Who the credentials belong to."""
    who = cloud.identity
    return {"id": who["Account"], "accountId": who["Account"], "arn": who["Arn"], "userId": who["UserId"]}


@function("aws:index/getPartition:getPartition")
def get_partition(cloud: Cloud, args: Properties) -> Properties:
    """The partition of the provider's region."""
    china = cloud.partition == "aws-cn"
    return {
        "id": cloud.partition,
        "partition": cloud.partition,
        "dnsSuffix": "amazonaws.com.cn" if china else "amazonaws.com",
        "reverseDnsPrefix": "cn.com.amazonaws" if china else "com.amazonaws",
    }


@function("aws:index/getRegion:getRegion")
def get_region(cloud: Cloud, args: Properties) -> Properties:
    """The region asked for, or the provider's."""
    found = cloud.ec2.describe_regions(RegionNames=[cloud.region])["Regions"][0]
    return {
        "id": cloud.region,
        "name": cloud.region,
        "region": cloud.region,
        "endpoint": found["Endpoint"],
        "description": cloud.description,
    }


@function("aws:index/getAvailabilityZones:getAvailabilityZones")
def get_availability_zones(cloud: Cloud, args: Properties) -> Properties:
    """The region's zones, by name and id in the same order."""
    if args.get("filters", [_ZONES_OF_THE_REGION]) != [_ZONES_OF_THE_REGION]:
        raise Refused(f"the simulated AWS filters availability zones by {_ZONES_OF_THE_REGION} alone", "filters")
    if args.get("state", "available") != "available":
        raise Refused("the simulated AWS has only available zones", "state")
    leave_out = {*args.get("excludeNames", []), *args.get("excludeZoneIds", [])}
    zones = {name: id for name, id in sorted(cloud.zones.items()) if not {name, id} & leave_out}
    return {
        "id": cloud.region,
        "region": cloud.region,
        "names": list(zones),
        "zoneIds": list(zones.values()),
        "groupNames": [cloud.region],
    }


@function("aws:ssm/getParameter:getParameter")
def get_parameter(cloud: Cloud, args: Properties) -> Properties:
    """A parameter, decrypted unless `withDecryption` is false."""
    decrypt = args.get("withDecryption", True)
    found = cloud.client("ssm").get_parameter(Name=_required(args, "name"), WithDecryption=decrypt)["Parameter"]
    return {
        "id": found["Name"],
        "name": found["Name"],
        "arn": found["ARN"],
        "type": found["Type"],
        "value": found["Value"],
        "insecureValue": found["Value"] if found["Type"] != "SecureString" else "",
        "version": found["Version"],
        "withDecryption": decrypt,
        "region": cloud.region,
    }


@function("aws:secretsmanager/getSecretVersion:getSecretVersion")
def get_secret_version(cloud: Cloud, args: Properties) -> Properties:
    """A version of a secret, the current one unless another is asked for."""
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
        "region": cloud.region,
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
        if any(one["clusterVersion"] == kubernetes for one in version["compatibilities"])
    ]
    if not versions:
        raise Refused(f"no version of addon {addon} was found for Kubernetes {kubernetes}", "addonName")
    newest = max(versions, key=lambda version: [int(part) for part in re.findall(r"\d+", version["addonVersion"])])
    default = next((version for version in versions if _is_default(version, kubernetes)), newest)
    chosen = newest if args.get("mostRecent") else default
    return {"id": addon, "version": chosen["addonVersion"], "region": cloud.region}


def _is_default(version: dict[str, Any], kubernetes: str) -> bool:
    return any(one.get("defaultVersion") for one in version["compatibilities"] if one["clusterVersion"] == kubernetes)


@function("aws:eks/getCluster:getCluster")
def get_cluster(cloud: Cloud, args: Properties) -> Properties:
    """A cluster's endpoint, certificate, identity, version and network."""
    found = cloud.client("eks").describe_cluster(name=_required(args, "name"))["cluster"]
    network = found["resourcesVpcConfig"]
    return {
        "id": found["name"],
        "arn": found["arn"],
        "endpoint": found["endpoint"],
        "certificateAuthorities": [{"data": found["certificateAuthority"]["data"]}],
        "identities": [{"oidcs": [{"issuer": found["identity"]["oidc"]["issuer"]}]}],
        "roleArn": found["roleArn"],
        "status": found["status"],
        "version": found["version"],
        "platformVersion": found["platformVersion"],
        "tags": found.get("tags", {}),
        "vpcConfig": {
            "vpcId": network["vpcId"],
            "subnetIds": network["subnetIds"],
            "securityGroupIds": network["securityGroupIds"],
            "clusterSecurityGroupId": network["clusterSecurityGroupId"],
            "endpointPrivateAccess": network["endpointPrivateAccess"],
            "endpointPublicAccess": network["endpointPublicAccess"],
            "publicAccessCidrs": network["publicAccessCidrs"],
        },
        "region": cloud.region,
    }


@function("aws:ec2/getAmi:getAmi")
def get_ami(cloud: Cloud, args: Properties) -> Properties:
    """The one machine image that fits."""
    filters = [{"Name": one["name"], "Values": one["values"]} for one in args.get("filters", [])]
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
        "imageId": image["ImageId"],
        "architecture": image["Architecture"],
        "name": image["Name"],
        "ownerId": image["OwnerId"],
        "rootDeviceName": image["RootDeviceName"],
        "region": cloud.region,
    }


@function("aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings")
def get_instance_type_offerings(cloud: Cloud, args: Properties) -> Properties:
    """Which instance types are to be had in which places, in three lists of one order."""
    filters = [{"Name": one["name"], "Values": one["values"]} for one in args.get("filters", [])]
    location = args.get("locationType", "region")
    pages = cloud.ec2.get_paginator("describe_instance_type_offerings").paginate(LocationType=location, Filters=filters)
    found = [one for page in pages for one in page["InstanceTypeOfferings"]]
    return {
        "id": cloud.region,
        "instanceTypes": [one["InstanceType"] for one in found],
        "locations": [one["Location"] for one in found],
        "locationTypes": [one["LocationType"] for one in found],
        "region": cloud.region,
    }


@function("aws:servicequotas/getServiceQuota:getServiceQuota")
def get_service_quota(cloud: Cloud, args: Properties) -> Properties:
    """The quota of a service, by its code, as it applies to the account, and its default."""
    service, code = _required(args, "serviceCode"), _required(args, "quotaCode")
    client = cloud.client("service-quotas")
    applied = client.get_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
    default = client.get_aws_default_service_quota(ServiceCode=service, QuotaCode=code)["Quota"]
    return {
        "id": applied["QuotaArn"],
        "arn": applied["QuotaArn"],
        "adjustable": applied["Adjustable"],
        "globalQuota": applied["GlobalQuota"],
        "quotaCode": code,
        "quotaName": applied["QuotaName"],
        "serviceCode": service,
        "serviceName": applied["ServiceName"],
        "value": applied["Value"],
        "defaultValue": default["Value"],
        "usageMetrics": [],
        "region": cloud.region,
    }


@function("aws:ec2/getSubnet:getSubnet")
def get_subnet(cloud: Cloud, args: Properties) -> Properties:
    """One subnet, by its id."""
    found = cloud.ec2.describe_subnets(SubnetIds=[_required(args, "id")])["Subnets"][0]
    return {
        "id": found["SubnetId"],
        "vpcId": found["VpcId"],
        "cidrBlock": found["CidrBlock"],
        "availabilityZone": found["AvailabilityZone"],
        "availabilityZoneId": found["AvailabilityZoneId"],
        "mapPublicIpOnLaunch": found["MapPublicIpOnLaunch"],
        "availableIpAddressCount": found["AvailableIpAddressCount"],
        "tags": tag_map(found.get("Tags")),
        "region": cloud.region,
    }


def _required(args: Properties, name: str) -> Any:
    if name not in args:
        raise Refused(f"{name} is needed", name)
    return args[name]
