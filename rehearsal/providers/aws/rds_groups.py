"""RDS: subnet groups and parameter groups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.aws.rds import RdsResource
from rehearsal.providers.protocol.model import Properties, Refused, Request

_DESCRIPTION = "Managed by Pulumi"


class SubnetGroup(RdsResource):
    """The subnets that an instance can use, in at least two zones."""

    token = "aws:rds/subnetGroup:SubnetGroup"
    force_new = frozenset({"name", "namePrefix"})
    defaults = {"description": _DESCRIPTION}
    longest_name = 255
    name_pattern = r"[0-9a-z._ -]+"
    id_form = "{name}"
    api_names = {"name": "DBSubnetGroupName", "description": "DBSubnetGroupDescription", "arn": "DBSubnetGroupArn"}
    create_call = Call("create_db_subnet_group", "name description subnetIds tags")
    read_call, found = Call("describe_db_subnet_groups", "name"), "DBSubnetGroups[0]"
    outputs = fields(
        "description arn vpcId",
        subnetIds="Subnets[].SubnetIdentifier",
        supportedNetworkTypes='SupportedNetworkTypes || `["IPV4"]`',
    )
    updates = {"*": Call("modify_db_subnet_group", "name description subnetIds")}
    delete_call = Call("delete_db_subnet_group", "name")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        if known(inputs.get("name")) == "default":
            yield Refused("name cannot be default", "name")


class ParameterGroup(RdsResource):
    """Settings of a database engine that differ from those of its family."""

    token = "aws:rds/parameterGroup:ParameterGroup"
    force_new = frozenset({"name", "namePrefix", "family", "description"})
    defaults = {"description": _DESCRIPTION, "skipDestroy": False}
    choices = {"parameters[].applyMethod": ("immediate", "pending-reboot")}
    longest_name = 255
    name_pattern = r"(?!.*--)[a-z]([0-9a-z.-]*[0-9a-z])?"
    id_form = "{name}"
    # Names of the group and of its parameters.
    api_names = {"family": "DBParameterGroupFamily", "arn": "DBParameterGroupArn"} | {
        name: f"Parameter{name.capitalize()}" for name in ("name", "value")
    }
    create_call = Call("create_db_parameter_group", "family description tags", DBParameterGroupName="{name}")
    read_call = Call("describe_db_parameter_groups", DBParameterGroupName="{name}")
    found, outputs = "DBParameterGroups[0]", fields("family description arn")
    updates = {"parameters": Call("modify_db_parameter_group", "parameters", DBParameterGroupName="{name}")}
    set_later = frozenset({"parameters"})
    delete_call = Call("delete_db_parameter_group", DBParameterGroupName="{name}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        family = known(inputs.get("family"))
        if family is not None and not re.fullmatch(r"postgres\d+", family):
            yield Refused("the rehearsal's RDS supports only families of postgres, such as postgres17", "family")

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        names = {parameter["name"] for parameter in inputs.get("parameters") or []}
        gone = [parameter for parameter in olds.get("parameters") or [] if parameter["name"] not in names]
        if gone:
            cloud.client("rds").reset_db_parameter_group(
                DBParameterGroupName=id,
                Parameters=[
                    {"ParameterName": parameter["name"], "ApplyMethod": "pending-reboot"} for parameter in gone
                ],
            )
        if names:
            super().change(cloud, id, inputs, olds, changed=changed, request=request)

    def given(self, inputs: Properties) -> Properties:
        parameters = [{"applyMethod": "immediate", **parameter} for parameter in inputs.get("parameters") or []]
        return {**super().given(inputs), "parameters": parameters}

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        listed = cloud.client("rds").describe_db_parameters(DBParameterGroupName=known["id"])["Parameters"]
        parameters = [{"ApplyMethod": "immediate", **parameter} for parameter in listed]
        return {"parameters": self.output("parameters", "@", parameters)}

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if not olds.get("skipDestroy"):
            super().remove(cloud, id, olds, request)
