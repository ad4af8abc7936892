"""IAM: what takes on roles. Instance profiles, OpenID Connect providers, service-linked roles."""

from __future__ import annotations

from collections.abc import Iterator

from rehearsal.providers.aws.base import AwsResource, known
from rehearsal.providers.aws.cloud import Cloud, tag_list, tag_map
from rehearsal.providers.serving import Properties, Refused, Request


class InstanceProfile(AwsResource):
    """An instance profile with at most one role."""

    token = "aws:iam/instanceProfile:InstanceProfile"
    force_new = frozenset({"name", "namePrefix", "path"})
    defaults = {"path": "/"}
    longest_name = 128
    name_pattern = r"[\w+=,.@-]+"

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        name = self.chosen_name(inputs)
        cloud.client("iam").create_instance_profile(
            InstanceProfileName=name, Path=inputs["path"], Tags=tag_list(inputs.get("tagsAll"))
        )
        return name

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if inputs.get("role"):
            cloud.client("iam").add_role_to_instance_profile(InstanceProfileName=id, RoleName=inputs["role"])

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        profile = cloud.client("iam").get_instance_profile(InstanceProfileName=id)["InstanceProfile"]
        return {
            "arn": profile["Arn"],
            "name": profile["InstanceProfileName"],
            "path": profile["Path"],
            "role": profile["Roles"][0]["RoleName"] if profile["Roles"] else None,
            "createDate": profile["CreateDate"].isoformat(),
            "uniqueId": profile["InstanceProfileId"],
            "tags": tag_map(profile.get("Tags")),
        }

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

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        iam = cloud.client("iam")
        if put:
            iam.tag_instance_profile(InstanceProfileName=id, Tags=tag_list(put))
        if drop:
            iam.untag_instance_profile(InstanceProfileName=id, TagKeys=drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        self._drop_roles(cloud, id)
        cloud.client("iam").delete_instance_profile(InstanceProfileName=id)


class OpenIdConnectProvider(AwsResource):
    """An identity provider whose tokens roles may trust."""

    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    force_new = frozenset({"url"})
    longest_name = None

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        url = known(inputs.get("url"))
        if url is not None and not url.startswith("https://"):
            yield Refused(f'expected "url" to have a url with schema of: "https", got {url}', "url")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.client("iam").create_open_id_connect_provider(
            Url=inputs["url"],
            ClientIDList=inputs["clientIdLists"],
            ThumbprintList=inputs.get("thumbprintLists", []),
            Tags=tag_list(inputs.get("tagsAll")),
        )
        return made["OpenIDConnectProviderArn"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        found = cloud.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=id)
        url = f"https://{found['Url'].removeprefix('https://')}"
        return {
            "arn": id,
            "url": url,
            "clientIdLists": found["ClientIDList"],
            "thumbprintLists": found["ThumbprintList"],
            "tags": tag_map(found.get("Tags")),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
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

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        iam = cloud.client("iam")
        if put:
            iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=id, Tags=tag_list(put))
        if drop:
            iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=id, TagKeys=drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=id)


class ServiceLinkedRole(AwsResource):
    """The role that an AWS service itself assumes, such as EC2 Spot's."""

    token = "aws:iam/serviceLinkedRole:ServiceLinkedRole"
    force_new = frozenset({"awsServiceName", "customSuffix"})
    longest_name = None

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        service = known(inputs.get("awsServiceName"))
        if service is not None and not service.endswith(".amazonaws.com"):
            yield Refused(f"{service} is no AWS service name: must end in .amazonaws.com", "awsServiceName")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        suffix = {"CustomSuffix": inputs["customSuffix"]} if inputs.get("customSuffix") else {}
        made = cloud.client("iam").create_service_linked_role(
            AWSServiceName=inputs["awsServiceName"], Description=inputs.get("description", ""), **suffix
        )
        return made["Role"]["Arn"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if inputs.get("tagsAll"):
            self.retag(cloud, id, {}, inputs["tagsAll"], [])

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        role = cloud.client("iam").get_role(RoleName=id.rpartition("/")[2])["Role"]
        return {
            "arn": id,
            "name": role["RoleName"],
            "path": role["Path"],
            "description": role.get("Description", ""),
            "createDate": role["CreateDate"].isoformat(),
            "uniqueId": role["RoleId"],
            "tags": tag_map(role.get("Tags")),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        description = inputs.get("description", "")
        cloud.client("iam").update_role_description(RoleName=id.rpartition("/")[2], Description=description)

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        iam, name = cloud.client("iam"), id.rpartition("/")[2]
        if put:
            iam.tag_role(RoleName=name, Tags=tag_list(put))
        if drop:
            iam.untag_role(RoleName=name, TagKeys=drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("iam").delete_service_linked_role(RoleName=id.rpartition("/")[2])
