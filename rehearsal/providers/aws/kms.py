"""KMS: keys, their policies and aliases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.aws.policy_grammar import allows, resource_policy, statements
from rehearsal.providers.protocol.model import Properties, Refused, Request, autoname

_DEFAULT_WINDOW_DAYS = 30
_LONGEST_ALIAS = 256


def _key_policy_problems(inputs: Properties) -> Iterator[Refused]:
    """Refuses an invalid policy, and one that would let nobody change it."""
    problems = list(resource_policy(inputs, "policy"))
    yield from problems
    text = known(inputs.get("policy"))
    if problems or text is None or known(inputs.get("bypassPolicyLockoutSafetyCheck")):
        return
    if not any(allows(statement, "kms:PutKeyPolicy") for statement in statements(text)):
        yield Refused("the new key policy will not allow you to update the key policy in the future", "policy")


class Key(DescribedResource):
    """A key. Its deletion starts a window in days, and the key counts as gone from then on."""

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
    documents = frozenset({"policy"})
    service, made_id = "kms", "KeyMetadata.KeyId"
    api_names = {"customerMasterKeySpec": "KeySpec", "isEnabled": "Enabled"}
    create_call = Call("create_key", "description keyUsage policy multiRegion tags", KeySpec="{customerMasterKeySpec}")
    read_call, found = Call("describe_key", KeyId="{id}"), "[KeyMetadata][?KeyState!='PendingDeletion'] | [0]"
    outputs = fields(
        "arn keyId description keyUsage isEnabled",
        customerMasterKeySpec="KeySpec",
        multiRegion="MultiRegion || `false`",
    )
    read_tags_call = Call("list_resource_tags", KeyId="{id}")
    updates = {
        "description": Call("update_key_description", KeyId="{id}", Description="{description || ''}"),
        "policy": Call("put_key_policy", "policy", KeyId="{id}", PolicyName="default"),
    }
    delete_call = Call("schedule_key_deletion", KeyId="{id}", PendingWindowInDays="{deletionWindowInDays}")
    tag_call = Call("tag_resource", KeyId="{id}", Tags="{tags}")
    untag_call = Call("untag_resource", KeyId="{id}", TagKeys="{tagKeys}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _key_policy_problems(inputs)
        rotates = known(inputs.get("enableKeyRotation"))
        if rotates and known(inputs.get("customerMasterKeySpec")) not in (None, "SYMMETRIC_DEFAULT"):
            yield Refused("only symmetric keys can be rotated", "enableKeyRotation")
        if "rotationPeriodInDays" in inputs and rotates is False:
            yield Refused("rotationPeriodInDays needs enableKeyRotation", "rotationPeriodInDays")

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        kms = cloud.client("kms")
        if inputs["enableKeyRotation"]:
            self.answer(Call("enable_key_rotation", "rotationPeriodInDays", KeyId="{id}"), cloud, {**inputs, "id": id})
        else:
            kms.disable_key_rotation(KeyId=id)
        (kms.enable_key if inputs["isEnabled"] else kms.disable_key)(KeyId=id)

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        kms, key = cloud.client("kms"), found["KeyId"]
        rotation = kms.get_key_rotation_status(KeyId=key)
        return {
            "enableKeyRotation": rotation["KeyRotationEnabled"],
            "rotationPeriodInDays": rotation.get("RotationPeriodInDays"),
            "policy": kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"],
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        kept = changed - ({"policy"} if not inputs.get("policy") else set())
        super().change(cloud, id, inputs, olds, changed=kept, request=request)
        if changed & {"isEnabled", "enableKeyRotation", "rotationPeriodInDays"}:
            self.complete(cloud, id, inputs, request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if self.look(cloud, {"id": id}):
            super().remove(cloud, id, {"deletionWindowInDays": _DEFAULT_WINDOW_DAYS, **olds}, request)


class KeyPolicy(DescribedResource):
    """The policy of a key that another resource made."""

    token = "aws:kms/keyPolicy:KeyPolicy"
    force_new = frozenset({"keyId"})
    documents = frozenset({"policy"})
    service, id_form = "kms", "{keyId}"
    create_call = Call("put_key_policy", "keyId policy", PolicyName="default")
    read_call, outputs = Call("get_key_policy", "keyId", PolicyName="default"), fields("policy")
    # A key always has a policy, and the real provider leaves this one in place.
    delete_call = None

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _key_policy_problems(inputs)


class Alias(DescribedResource):
    """An alias of a key."""

    token = "aws:kms/alias:Alias"
    force_new = frozenset({"name", "namePrefix"})
    longest_name = _LONGEST_ALIAS
    name_pattern = r"alias/(?!aws/)[a-zA-Z0-9/_-]+"
    service, id_form = "kms", "{name}"
    create_call = Call("create_alias", "targetKeyId", AliasName="{name}")
    read_call, found = Call("list_aliases"), "Aliases[?AliasName=='{name}'] | [0]"
    outputs = fields(arn="AliasArn")
    updates = {"*": Call("update_alias", "targetKeyId", AliasName="{name}")}
    delete_call = Call("delete_alias", AliasName="{name}")

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        if not inputs.keys() & {"name", "namePrefix"}:
            name = olds.get("name") or f"alias/{autoname(request, {}, longest=_LONGEST_ALIAS - len('alias/'))}"
            inputs = {**inputs, "name": name}
        return super().check(inputs, olds, request)

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        key_arn = cloud.arn("kms", f"key/{found['TargetKeyId']}")
        by_arn = str(known.get("targetKeyId", "")).startswith("arn:")
        return {"targetKeyId": key_arn if by_arn else found["TargetKeyId"], "targetKeyArn": key_arn}
