"""IAM: instance profiles, OpenID Connect providers and service-linked roles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused, Request


class InstanceProfile(DescribedResource):
    """An instance profile with at most one role."""

    token = "aws:iam/instanceProfile:InstanceProfile"
    force_new = frozenset({"name", "namePrefix", "path"})
    defaults = {"path": "/"}
    longest_name = 128
    name_pattern = r"[\w+=,.@-]+"
    service, id_form = "iam", "{name}"
    api_names = {"name": "InstanceProfileName", "uniqueId": "InstanceProfileId"}
    create_call = Call("create_instance_profile", "name path tags")
    read_call, found = Call("get_instance_profile", "name"), "InstanceProfile"
    outputs = fields("arn path createDate uniqueId tags", role="Roles[0].RoleName")
    delete_call = Call("delete_instance_profile", "name")
    tag_call = Call("tag_instance_profile", InstanceProfileName="{id}", Tags="{tags}")
    untag_call = Call("untag_instance_profile", InstanceProfileName="{id}", TagKeys="{tagKeys}")

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if inputs.get("role"):
            cloud.client("iam").add_role_to_instance_profile(InstanceProfileName=id, RoleName=inputs["role"])

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        self._drop_roles(cloud, id)
        self.complete(cloud, id, inputs, request)

    @staticmethod
    def _drop_roles(cloud: Cloud, id: str) -> None:
        iam = cloud.client("iam")
        for role in iam.get_instance_profile(InstanceProfileName=id)["InstanceProfile"]["Roles"]:
            iam.remove_role_from_instance_profile(InstanceProfileName=id, RoleName=role["RoleName"])

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        self._drop_roles(cloud, id)
        super().remove(cloud, id, olds, request)


class OpenIdConnectProvider(DescribedResource):
    """An identity provider whose tokens roles can trust."""

    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    force_new = frozenset({"url"})
    service, made_id = "iam", "OpenIDConnectProviderArn"
    create_call = Call(
        "create_open_id_connect_provider",
        "url tags",
        ClientIDList="{clientIdLists}",
        ThumbprintList="{thumbprintLists || `[]`}",
    )
    read_call = Call("get_open_id_connect_provider", OpenIDConnectProviderArn="{id}")
    outputs = fields("tags", clientIdLists="ClientIDList", thumbprintLists="ThumbprintList")
    delete_call = Call("delete_open_id_connect_provider", OpenIDConnectProviderArn="{id}")
    tag_call = Call("tag_open_id_connect_provider", OpenIDConnectProviderArn="{id}", Tags="{tags}")
    untag_call = Call("untag_open_id_connect_provider", OpenIDConnectProviderArn="{id}", TagKeys="{tagKeys}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        url = known(inputs.get("url"))
        if url is not None and not url.startswith("https://"):
            yield Refused(f'expected "url" to have a url with schema of: "https", got {url}', "url")

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        return {"arn": known["id"], "url": f"https://{found['Url'].removeprefix('https://')}"}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        iam = cloud.client("iam")
        if "thumbprintLists" in changed:
            prints = inputs.get("thumbprintLists", [])
            iam.update_open_id_connect_provider_thumbprint(OpenIDConnectProviderArn=id, ThumbprintList=prints)
        before, after = set(olds.get("clientIdLists") or []), set(inputs["clientIdLists"])
        for client in sorted(after - before):
            iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=id, ClientID=client)
        for client in sorted(before - after):
            iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=id, ClientID=client)


class ServiceLinkedRole(DescribedResource):
    """The role that an AWS service assumes, such as that of EC2 Spot."""

    token = "aws:iam/serviceLinkedRole:ServiceLinkedRole"
    force_new = frozenset({"awsServiceName", "customSuffix"})
    service, made_id = "iam", "Role.Arn"
    create_call = Call("create_service_linked_role", "awsServiceName customSuffix", Description="{description || ''}")
    read_call, found = Call("get_role", RoleName="{name}"), "Role"
    outputs = fields("path createDate tags", uniqueId="RoleId", description="Description || ''")
    updates = {"*": Call("update_role_description", RoleName="{name}", Description="{description || ''}")}
    delete_call = Call("delete_service_linked_role", RoleName="{name}")
    tag_call = Call("tag_role", RoleName="{name}", Tags="{tags}")
    untag_call = Call("untag_role", RoleName="{name}", TagKeys="{tagKeys}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        service = known(inputs.get("awsServiceName"))
        if service is not None and not service.endswith(".amazonaws.com"):
            yield Refused(f"{service} is not an AWS service name: it must end in .amazonaws.com", "awsServiceName")

    def named(self, id: str) -> Properties:
        return {"name": id.rpartition("/")[2]}

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if inputs.get("tagsAll"):
            self.retag(cloud, id, self.named(id), inputs["tagsAll"], [])

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        return {"arn": known["id"]}
