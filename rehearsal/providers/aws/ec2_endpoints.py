"""VPC endpoints and flow logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.ec2 import Ec2Resource, only
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused, Request

# Inputs by which an endpoint is attached -> the types of endpoint that have them.
_ATTACHED = {
    "routeTableIds": ("Gateway",),
    "subnetIds": ("Interface", "GatewayLoadBalancer"),
    "securityGroupIds": ("Interface",),
}
# The object that a flow log observes -> its type in EC2, and the prefix of its ids.
_OBSERVED = {
    "vpcId": ("VPC", "vpc-"),
    "subnetId": ("Subnet", "subnet-"),
    "eniId": ("NetworkInterface", "eni-"),
}


class VpcEndpoint(Ec2Resource):
    """A gateway or interface endpoint of an AWS service."""

    token = "aws:ec2/vpcEndpoint:VpcEndpoint"
    force_new = frozenset({"vpcId", "serviceName", "vpcEndpointType"})
    defaults = {"vpcEndpointType": "Gateway"}
    required = ("serviceName",)
    choices = {"vpcEndpointType": ("Gateway", "Interface")}
    documents = frozenset({"policy"})
    kind, made_id = "vpc-endpoint", "VpcEndpoint.VpcEndpointId"
    api_names = {"policy": "PolicyDocument"}
    create_call = Call(
        "create_vpc_endpoint",
        "vpcId serviceName vpcEndpointType routeTableIds subnetIds securityGroupIds privateDnsEnabled policy"
        " tagSpecifications",
    )
    read_call = Call("describe_vpc_endpoints", VpcEndpointIds=["{id}"])
    found = "VpcEndpoints[?!contains(['deleted', 'deleting'], State)] | [0]"
    outputs = fields(
        "vpcId serviceName vpcEndpointType state tags",
        privateDnsEnabled="PrivateDnsEnabled || `false`",
        requesterManaged="`false`",
        ipAddressType="'ipv4'",
        routeTableIds="RouteTableIds || `[]`",
        subnetIds="SubnetIds || `[]`",
        securityGroupIds="(Groups || `[]`)[].GroupId",
        networkInterfaceIds="NetworkInterfaceIds || `[]`",
        dnsEntries="DnsEntries || `[]`",
    )
    delete_call = Call("delete_vpc_endpoints", VpcEndpointIds=["{id}"])
    ready, waits_until_gone, wait_seconds = "State=='available'", True, 600
    unmodelled = frozenset({"autoAccept", "dnsOptions", "ipAddressType", "serviceRegion", "subnetConfigurations"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        kind = known(inputs["vpcEndpointType"])
        for name, kinds in _ATTACHED.items():
            if name in inputs and kind is not None and kind not in kinds:
                yield Refused(f"{name} is for endpoints of type {' and '.join(kinds)}, not {kind}", name)
        if inputs.get("privateDnsEnabled") is True and kind == "Gateway":
            yield Refused("private DNS can't be enabled for an endpoint of type Gateway", "privateDnsEnabled")
        service = known(inputs.get("serviceName"))
        if service is not None:
            yield from self._service_problems(service, kind, cloud)

    @staticmethod
    def _service_problems(service: str, kind: str | None, cloud: Cloud) -> Iterator[Refused]:
        prefix = f"com.amazonaws.{cloud.region}."
        if not service.startswith(prefix) or not service.removeprefix(prefix):
            reason = f"The Vpc Endpoint Service '{service}' does not exist: {cloud.region} has {prefix}*"
            yield Refused(reason, "serviceName")
        elif kind == "Gateway" and service.removeprefix(prefix) not in ("s3", "dynamodb"):
            yield Refused(f"{service} has no endpoint of type Gateway: only S3 and DynamoDB have", "vpcEndpointType")

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        changes = {}
        for name in _ATTACHED.keys() & changed:
            before, after, key = set(olds.get(name) or []), set(inputs.get(name) or []), name[0].upper() + name[1:]
            changes |= {f"Add{key}": sorted(after - before)} if after - before else {}
            changes |= {f"Remove{key}": sorted(before - after)} if before - after else {}
        if "policy" in changed:
            changes |= {"PolicyDocument": inputs["policy"]} if "policy" in inputs else {"ResetPolicy": True}
        if "privateDnsEnabled" in changed:
            raise Refused("the simulated AWS can't change private DNS of an endpoint in place", "privateDnsEnabled")
        cloud.ec2.modify_vpc_endpoint(VpcEndpointId=id, **changes)

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        named = [{"Name": "prefix-list-name", "Values": [found["ServiceName"]]}]
        lists = only(cloud.ec2.describe_managed_prefix_lists(Filters=named)["PrefixLists"])
        return {
            **super().more_outputs(cloud, found, known),
            "serviceRegion": cloud.region,
            "prefixListId": lists["PrefixListId"] if lists else "",
            "policy": json.dumps(json.loads(found.get("PolicyDocument") or "{}")),
        }


class FlowLog(Ec2Resource):
    """A flow log of a VPC, subnet or network interface."""

    token = "aws:ec2/flowLog:FlowLog"
    required = ("trafficType", "logDestination")
    defaults = {"logDestinationType": "cloud-watch-logs", "maxAggregationInterval": 600}
    choices = {
        "logDestinationType": ("cloud-watch-logs", "s3"),
        "maxAggregationInterval": (60, 600),
        "trafficType": ("ACCEPT", "REJECT", "ALL"),
    }
    kind = "vpc-flow-log"
    api_names = {"iamRoleArn": "DeliverLogsPermissionArn"}
    create_call = Call(
        "create_flow_logs",
        "resourceType resourceIds trafficType logDestinationType logDestination maxAggregationInterval iamRoleArn"
        " logFormat tagSpecifications",
    )
    read_call, found = Call("describe_flow_logs", FlowLogIds=["{id}"]), "FlowLogs[0]"
    outputs = fields("trafficType logDestinationType logDestination iamRoleArn logFormat maxAggregationInterval tags")
    delete_call = Call("delete_flow_logs", FlowLogIds=["{id}"])
    exactly_one = (("vpcId", "subnetId", "eniId", "transitGatewayId", "transitGatewayAttachmentId"),)
    unmodelled = frozenset(
        {"deliverCrossAccountRole", "destinationOptions", "transitGatewayId", "transitGatewayAttachmentId"}
    )

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        to_logs = inputs["logDestinationType"] == "cloud-watch-logs"
        if to_logs and "iamRoleArn" not in inputs:
            yield Refused("a flow log to cloud-watch-logs needs iamRoleArn", "iamRoleArn")
        if not to_logs and "iamRoleArn" in inputs:
            yield Refused("iamRoleArn is only for flow logs to cloud-watch-logs", "iamRoleArn")

    def replaces(self, olds: Properties, news: Properties, changed: set[str]) -> set[str]:
        return changed - {"tags", "tagsAll"}

    def given(self, inputs: Properties) -> Properties:
        observed = next(name for name in _OBSERVED if name in inputs)
        return {**super().given(inputs), "resourceType": _OBSERVED[observed][0], "resourceIds": [inputs[observed]]}

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = self.answer(self.create_call, cloud, self.given(inputs))
        for failed in made.get("Unsuccessful", []):
            raise Refused(f"CreateFlowLogs: {failed['Error']['Message']} ({failed['Error']['Code']})")
        return made["FlowLogIds"][0]

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        observed = next(name for name, (_, prefix) in _OBSERVED.items() if found["ResourceId"].startswith(prefix))
        return {**super().more_outputs(cloud, found, known), observed: found["ResourceId"]}
