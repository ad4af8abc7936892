"""What moto's WAF lacks: refusing unknown load balancers, and keeping one web ACL per resource."""

from __future__ import annotations

import json
from typing import Any

from moto.elbv2.models import elbv2_backends
from moto.wafv2 import urls
from moto.wafv2.exceptions import WAFNonexistentItemException, WAFv2ClientError
from moto.wafv2.responses import WAFV2Response


class Response(WAFV2Response):
    """moto's WAF with checks of associations."""

    def associate_web_acl(self) -> Any:
        """Refuses a load balancer that does not exist. A new association replaces the old one."""
        given = json.loads(self.body)
        arn = given["ResourceArn"]
        if ":elasticloadbalancing:" in arn:
            balancers = elbv2_backends[self.current_account][self.region].load_balancers
            if arn not in balancers:
                raise WAFNonexistentItemException
            if balancers[arn].type != "application":
                raise WAFv2ClientError("WAFInvalidParameterException", f"{arn} is not a resource of a supported type")
        for web_acl in self.wafv2_backend.wacls.values():
            if arn in web_acl.associated_resources and web_acl.arn != given["WebACLArn"]:
                web_acl.associated_resources.remove(arn)
        return super().associate_web_acl()


def install() -> None:
    """Replaces moto's operations with these."""
    urls.url_paths = {"{0}/": Response.dispatch, "{0}/$": Response.dispatch}
