"""KMS: keys, their policies and aliases."""

from __future__ import annotations

from collections.abc import Iterator

from rehearsal.providers.aws.base import AwsResource, known
from rehearsal.providers.aws.cloud import Cloud
from rehearsal.providers.aws.policies import allows, resource_policy, statements
from rehearsal.providers.serving import Properties, Refused, Request, autoname

_DEFAULT_WINDOW_DAYS = 30
_LONGEST_ALIAS = 256


def _key_policy_problems(inputs: Properties) -> Iterator[Refused]:
    """Refuses a policy that is none, and one that nobody could change any more."""
    problems = list(resource_policy(inputs, "policy"))
    yield from problems
    text = known(inputs.get("policy"))
    if problems or text is None or known(inputs.get("bypassPolicyLockoutSafetyCheck")):
        return
    if not any(allows(statement, "kms:PutKeyPolicy") for statement in statements(text)):
        yield Refused("the new key policy will not allow you to update the key policy in the future", "policy")


class Key(AwsResource):
    """A key. Deleting it starts its deletion window, in days; from then on it counts as gone."""

    token = "aws:kms/key:Key"
    force_new = frozenset({"customerMasterKeySpec", "keyUsage", "multiRegion", "customKeyStoreId", "xksKeyId"})
    defaults = {
        "keyUsage": "ENCRYPT_DECRYPT",
        "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "isEnabled": True,
        "enableKeyRotation": False,
        "bypassPolicyLockoutSafetyCheck": False,
    }
    choices = {"keyUsage": ("ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT")}
    ranges = {"deletionWindowInDays": (7, 30), "rotationPeriodInDays": (90, 2560)}
    longest_name = None
    documents = frozenset({"policy"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _key_policy_problems(inputs)
        rotates = known(inputs.get("enableKeyRotation"))
        if rotates and known(inputs.get("customerMasterKeySpec")) not in (None, "SYMMETRIC_DEFAULT"):
            yield Refused("only symmetric keys can be rotated", "enableKeyRotation")
        if "rotationPeriodInDays" in inputs and rotates is False:
            yield Refused("rotationPeriodInDays needs enableKeyRotation", "rotationPeriodInDays")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        optional = {"Policy": inputs.get("policy"), "MultiRegion": inputs.get("multiRegion")}
        made = cloud.client("kms").create_key(
            Description=inputs.get("description", ""),
            KeyUsage=inputs["keyUsage"],
            KeySpec=inputs["customerMasterKeySpec"],
            Tags=[{"TagKey": key, "TagValue": value} for key, value in (inputs.get("tagsAll") or {}).items()],
            **{key: value for key, value in optional.items() if value is not None},
        )
        return made["KeyMetadata"]["KeyId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        self._switch(cloud, id, inputs)

    @staticmethod
    def _switch(cloud: Cloud, id: str, inputs: Properties) -> None:
        kms = cloud.client("kms")
        if inputs["enableKeyRotation"]:
            period = (
                {"RotationPeriodInDays": inputs["rotationPeriodInDays"]} if "rotationPeriodInDays" in inputs else {}
            )
            kms.enable_key_rotation(KeyId=id, **period)
        else:
            kms.disable_key_rotation(KeyId=id)
        (kms.enable_key if inputs["isEnabled"] else kms.disable_key)(KeyId=id)

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        kms = cloud.client("kms")
        key = kms.describe_key(KeyId=id)["KeyMetadata"]
        if key["KeyState"] == "PendingDeletion":
            return None
        rotation = kms.get_key_rotation_status(KeyId=id)
        tags = kms.list_resource_tags(KeyId=id).get("Tags", [])
        return {
            "arn": key["Arn"],
            "keyId": key["KeyId"],
            "description": key["Description"],
            "keyUsage": key["KeyUsage"],
            "customerMasterKeySpec": key["KeySpec"],
            "isEnabled": key["Enabled"],
            "multiRegion": key.get("MultiRegion", False),
            "enableKeyRotation": rotation["KeyRotationEnabled"],
            "rotationPeriodInDays": rotation.get("RotationPeriodInDays"),
            "policy": kms.get_key_policy(KeyId=id, PolicyName="default")["Policy"],
            "tags": {tag["TagKey"]: tag["TagValue"] for tag in tags},
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        kms = cloud.client("kms")
        if "description" in changed:
            kms.update_key_description(KeyId=id, Description=inputs.get("description", ""))
        if "policy" in changed and inputs.get("policy"):
            kms.put_key_policy(KeyId=id, PolicyName="default", Policy=inputs["policy"])
        if changed & {"isEnabled", "enableKeyRotation", "rotationPeriodInDays"}:
            self._switch(cloud, id, inputs)

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        kms = cloud.client("kms")
        if put:
            kms.tag_resource(KeyId=id, Tags=[{"TagKey": key, "TagValue": value} for key, value in put.items()])
        if drop:
            kms.untag_resource(KeyId=id, TagKeys=drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        window = olds.get("deletionWindowInDays") or _DEFAULT_WINDOW_DAYS
        kms = cloud.client("kms")
        if kms.describe_key(KeyId=id)["KeyMetadata"]["KeyState"] != "PendingDeletion":
            kms.schedule_key_deletion(KeyId=id, PendingWindowInDays=window)


class KeyPolicy(AwsResource):
    """The policy of a key that another resource made."""

    token = "aws:kms/keyPolicy:KeyPolicy"
    force_new = frozenset({"keyId"})
    longest_name = None
    documents = frozenset({"policy"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _key_policy_problems(inputs)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        cloud.client("kms").put_key_policy(KeyId=inputs["keyId"], PolicyName="default", Policy=inputs["policy"])
        return inputs["keyId"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        return {"keyId": id, "policy": cloud.client("kms").get_key_policy(KeyId=id, PolicyName="default")["Policy"]}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        self.make(cloud, inputs, request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        """Nothing to delete: a key always has a policy, and the real provider leaves this one in place."""


class Alias(AwsResource):
    """A name of a key."""

    token = "aws:kms/alias:Alias"
    force_new = frozenset({"name", "namePrefix"})
    longest_name = _LONGEST_ALIAS
    name_pattern = r"alias/(?!aws/)[a-zA-Z0-9/_-]+"

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        if not inputs.keys() & {"name", "namePrefix"}:
            name = olds.get("name") or f"alias/{autoname(request, {}, longest=_LONGEST_ALIAS - len('alias/'))}"
            inputs = {**inputs, "name": name}
        return super().check(inputs, olds, request)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        name = self.chosen_name(inputs)
        cloud.client("kms").create_alias(AliasName=name, TargetKeyId=inputs["targetKeyId"])
        return name

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        pages = cloud.client("kms").get_paginator("list_aliases").paginate()
        found = next((one for page in pages for one in page["Aliases"] if one["AliasName"] == id), None)
        if found is None:
            return None
        key_arn = cloud.arn("kms", f"key/{found['TargetKeyId']}")
        by_arn = str(olds.get("targetKeyId", "")).startswith("arn:")
        return {
            "name": id,
            "arn": found["AliasArn"],
            "targetKeyId": key_arn if by_arn else found["TargetKeyId"],
            "targetKeyArn": key_arn,
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        cloud.client("kms").update_alias(AliasName=id, TargetKeyId=inputs["targetKeyId"])

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("kms").delete_alias(AliasName=id)
