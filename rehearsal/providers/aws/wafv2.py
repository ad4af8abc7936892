"""AWS WAF: which web ACL a load balancer has."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rehearsal.providers.aws.base import AwsResource, known
from rehearsal.providers.aws.cloud import Cloud
from rehearsal.providers.serving import Properties, Refused, Request

_WEB_ACL = re.compile(r"arn:[\w-]+:wafv2:[\w-]+:\d{12}:(regional|global)/webacl/[\w-]+/[\w-]+")


class WebAclAssociation(AwsResource):
    """The web ACL of a load balancer. Its id is both ARNs, as in the real provider."""

    token = "aws:wafv2/webAclAssociation:WebAclAssociation"
    force_new = frozenset({"resourceArn", "webAclArn"})
    longest_name = None

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        arn = known(inputs.get("webAclArn"))
        if arn is None:
            return
        found = _WEB_ACL.fullmatch(arn)
        if not found:
            yield Refused(f"{arn} is no ARN of a web ACL", "webAclArn")
        elif found[1] == "global":
            yield Refused(f"{arn} is of the scope CLOUDFRONT, which a regional resource can't have", "webAclArn")
        elif arn.split(":")[3] != cloud.region:
            yield Refused(f"{arn} is of another region than {cloud.region}", "webAclArn")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        web_acl, resource = inputs["webAclArn"], inputs["resourceArn"]
        cloud.client("wafv2").associate_web_acl(WebACLArn=web_acl, ResourceArn=resource)
        return f"{web_acl},{resource}"

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        web_acl, _, resource = id.partition(",")
        found = cloud.client("wafv2").get_web_acl_for_resource(ResourceArn=resource).get("WebACL")
        if not found or found["ARN"] != web_acl:
            return None
        return {"webAclArn": web_acl, "resourceArn": resource}

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("wafv2").disassociate_web_acl(ResourceArn=olds["resourceArn"])
