"""AWS WAF: the web ACLs of load balancers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused

_WEB_ACL = re.compile(r"arn:[\w-]+:wafv2:[\w-]+:\d{12}:(regional|global)/webacl/[\w-]+/[\w-]+")


class WebAclAssociation(DescribedResource):
    """The web ACL of a load balancer. Its id is both ARNs, as in the real provider."""

    token = "aws:wafv2/webAclAssociation:WebAclAssociation"
    force_new = frozenset({"resourceArn", "webAclArn"})
    service, id_form = "wafv2", "{webAclArn},{resourceArn}"
    create_call = Call("associate_web_acl", "webAclArn resourceArn")
    read_call = Call("get_web_acl_for_resource", "resourceArn")
    found = "[WebACL][?ARN=='{webAclArn}']"
    delete_call = Call("disassociate_web_acl", "resourceArn")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        arn = known(inputs.get("webAclArn"))
        if arn is None:
            return
        found = _WEB_ACL.fullmatch(arn)
        if not found:
            yield Refused(f"{arn} is not the ARN of a web ACL", "webAclArn")
        elif found[1] == "global":
            yield Refused(f"{arn} has the scope CLOUDFRONT, which a regional resource cannot use", "webAclArn")
        elif arn.split(":")[3] != cloud.region:
            yield Refused(f"{arn} is in another region than {cloud.region}", "webAclArn")
