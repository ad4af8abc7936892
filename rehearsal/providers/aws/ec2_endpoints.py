"""VPC endpoints and flow logs."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rehearsal.providers.aws.base import known
from rehearsal.providers.aws.cloud import Cloud, tag_map
from rehearsal.providers.aws.ec2 import Ec2Resource, only, tagged
from rehearsal.providers.serving import Properties, Refused, Request

_ENDPOINT_SECONDS = 600
# What an endpoint is attached to -> EC2's name for it, and the types of endpoint that have it.
_ATTACHED = {
    "routeTableIds": ("RouteTableIds", ("Gateway",)),
    "subnetIds": ("SubnetIds", ("Interface", "GatewayLoadBalancer")),
    "securityGroupIds": ("SecurityGroupIds", ("Interface",)),
}
# What a flow log observes -> EC2's name for the kind, and how its ids begin.
_OBSERVED = {
    "vpcId": ("VPC", "vpc-"),
    "subnetId": ("Subnet", "subnet-"),
    "eniId": ("NetworkInterface", "eni-"),
}


class VpcEndpoint(Ec2Resource):
    """A gateway or interface endpoint of a service of AWS."""

    token = "aws:ec2/vpcEndpoint:VpcEndpoint"
    force_new = frozenset({"vpcId", "serviceName", "vpcEndpointType"})
    defaults = {"vpcEndpointType": "Gateway"}
    choices = {"vpcEndpointType": ("Gateway", "Interface")}
    documents = frozenset({"policy"})
    unmodelled = frozenset({"autoAccept", "dnsOptions", "ipAddressType", "serviceRegion", "subnetConfigurations"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        kind = known(inputs["vpcEndpointType"])
        for name, (_, kinds) in _ATTACHED.items():
            if name in inputs and kind is not None and kind not in kinds:
                yield Refused(f"{name} is for endpoints of type {' and '.join(kinds)}, not {kind}", name)
        if inputs.get("privateDnsEnabled") is True and kind == "Gateway":
            yield Refused("private DNS can't be enabled for an endpoint of type Gateway", "privateDnsEnabled")
        service = known(inputs.get("serviceName"))
        if "serviceName" not in inputs:
            yield Refused("a VPC endpoint needs a serviceName", "serviceName")
        elif service is not None:
            yield from self._service_problems(service, kind, cloud)

    @staticmethod
    def _service_problems(service: str, kind: str | None, cloud: Cloud) -> Iterator[Refused]:
        prefix = f"com.amazonaws.{cloud.region}."
        if not service.startswith(prefix) or not service.removeprefix(prefix):
            reason = f"The Vpc Endpoint Service '{service}' does not exist: {cloud.region} has {prefix}*"
            yield Refused(reason, "serviceName")
        elif kind == "Gateway" and service.removeprefix(prefix) not in ("s3", "dynamodb"):
            yield Refused(f"{service} has no endpoint of type Gateway: only S3 and DynamoDB have", "vpcEndpointType")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        attached = {key: inputs[name] for name, (key, _) in _ATTACHED.items() if name in inputs}
        dns = {"PrivateDnsEnabled": inputs["privateDnsEnabled"]} if "privateDnsEnabled" in inputs else {}
        policy = {"PolicyDocument": inputs["policy"]} if "policy" in inputs else {}
        made = cloud.ec2.create_vpc_endpoint(
            VpcId=inputs["vpcId"],
            ServiceName=inputs["serviceName"],
            VpcEndpointType=inputs["vpcEndpointType"],
            TagSpecifications=tagged("vpc-endpoint", inputs),
            **attached,
            **dns,
            **policy,
        )
        return made["VpcEndpoint"]["VpcEndpointId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        def available() -> bool:
            found = only(cloud.ec2.describe_vpc_endpoints(VpcEndpointIds=[id])["VpcEndpoints"])
            return found is not None and found["State"] == "available"

        request.wait(available, seconds=_ENDPOINT_SECONDS, what=f"VPC endpoint {id}")

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        changes = {}
        for name in _ATTACHED.keys() & changed:
            before, after, key = set(olds.get(name) or []), set(inputs.get(name) or []), _ATTACHED[name][0]
            changes |= {f"Add{key}": sorted(after - before)} if after - before else {}
            changes |= {f"Remove{key}": sorted(before - after)} if before - after else {}
        if "policy" in changed:
            changes |= {"PolicyDocument": inputs["policy"]} if "policy" in inputs else {"ResetPolicy": True}
        if "privateDnsEnabled" in changed:
            raise Refused("the simulated AWS can't change private DNS of an endpoint in place", "privateDnsEnabled")
        cloud.ec2.modify_vpc_endpoint(VpcEndpointId=id, **changes)

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        endpoint = only(cloud.ec2.describe_vpc_endpoints(VpcEndpointIds=[id])["VpcEndpoints"])
        if endpoint is None or endpoint["State"] in ("deleted", "deleting"):
            return None
        entries = endpoint.get("DnsEntries") or []
        return {
            "arn": cloud.arn("ec2", f"vpc-endpoint/{id}"),
            "vpcId": endpoint["VpcId"],
            "serviceName": endpoint["ServiceName"],
            "serviceRegion": cloud.region,
            "vpcEndpointType": endpoint["VpcEndpointType"],
            "state": endpoint["State"],
            "ownerId": cloud.account,
            "requesterManaged": False,
            "privateDnsEnabled": bool(endpoint.get("PrivateDnsEnabled", False)),
            "routeTableIds": endpoint.get("RouteTableIds") or [],
            "subnetIds": endpoint.get("SubnetIds") or [],
            "securityGroupIds": [group["GroupId"] for group in endpoint.get("Groups") or []],
            "networkInterfaceIds": endpoint.get("NetworkInterfaceIds") or [],
            "dnsEntries": [{"dnsName": one["DnsName"], "hostedZoneId": one["HostedZoneId"]} for one in entries],
            "prefixListId": self._prefix_list(cloud, endpoint["ServiceName"]),
            "policy": json.dumps(json.loads(endpoint.get("PolicyDocument") or "{}")),
            "ipAddressType": "ipv4",
            "tags": tag_map(endpoint.get("Tags")),
        }

    @staticmethod
    def _prefix_list(cloud: Cloud, service: str) -> str:
        named = [{"Name": "prefix-list-name", "Values": [service]}]
        found = only(cloud.ec2.describe_managed_prefix_lists(Filters=named)["PrefixLists"])
        return found["PrefixListId"] if found else ""

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.ec2.delete_vpc_endpoints(VpcEndpointIds=[id])

        def gone() -> bool:
            return self.live(cloud, id, olds) is None

        request.wait(gone, seconds=_ENDPOINT_SECONDS, what=f"deletion of VPC endpoint {id}")


class FlowLog(Ec2Resource):
    """A flow log of a VPC, subnet or network interface."""

    token = "aws:ec2/flowLog:FlowLog"
    defaults = {"logDestinationType": "cloud-watch-logs", "maxAggregationInterval": 600}
    choices = {
        "logDestinationType": ("cloud-watch-logs", "s3"),
        "maxAggregationInterval": (60, 600),
        "trafficType": ("ACCEPT", "REJECT", "ALL"),
    }
    exactly_one = (("vpcId", "subnetId", "eniId", "transitGatewayId", "transitGatewayAttachmentId"),)
    unmodelled = frozenset(
        {"deliverCrossAccountRole", "destinationOptions", "transitGatewayId", "transitGatewayAttachmentId"}
    )

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        to_logs = inputs["logDestinationType"] == "cloud-watch-logs"
        for name, needed in {"trafficType": True, "logDestination": True, "iamRoleArn": to_logs}.items():
            if needed and name not in inputs:
                yield Refused(f"a flow log to {inputs['logDestinationType']} needs {name}", name)
        if not to_logs and "iamRoleArn" in inputs:
            yield Refused("iamRoleArn is for flow logs to cloud-watch-logs alone", "iamRoleArn")

    def replaces(self, olds: Properties, news: Properties, changed: set[str]) -> set[str]:
        return changed - {"tags", "tagsAll"}

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        name = next(name for name in _OBSERVED if name in inputs)
        role = {"DeliverLogsPermissionArn": inputs["iamRoleArn"]} if "iamRoleArn" in inputs else {}
        made = cloud.ec2.create_flow_logs(
            ResourceType=_OBSERVED[name][0],
            ResourceIds=[inputs[name]],
            TrafficType=inputs["trafficType"],
            LogDestinationType=inputs["logDestinationType"],
            LogDestination=inputs["logDestination"],
            MaxAggregationInterval=inputs["maxAggregationInterval"],
            TagSpecifications=tagged("vpc-flow-log", inputs),
            **role,
            **({"LogFormat": inputs["logFormat"]} if "logFormat" in inputs else {}),
        )
        for failed in made.get("Unsuccessful", []):
            raise Refused(f"CreateFlowLogs: {failed['Error']['Message']} ({failed['Error']['Code']})")
        return made["FlowLogIds"][0]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        log = only(cloud.ec2.describe_flow_logs(FlowLogIds=[id])["FlowLogs"])
        if log is None:
            return None
        observed = next(name for name, (_, prefix) in _OBSERVED.items() if log["ResourceId"].startswith(prefix))
        return {
            "arn": cloud.arn("ec2", f"vpc-flow-log/{id}"),
            observed: log["ResourceId"],
            "trafficType": log["TrafficType"],
            "logDestinationType": log["LogDestinationType"],
            "logDestination": log.get("LogDestination", ""),
            "iamRoleArn": log.get("DeliverLogsPermissionArn", ""),
            "logFormat": log["LogFormat"],
            "maxAggregationInterval": log["MaxAggregationInterval"],
            "tags": tag_map(log.get("Tags")),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.ec2.delete_flow_logs(FlowLogIds=[id])
