"""AWS WAF."""

from __future__ import annotations

from reports.aws_type import AwsType
from reports.aws_type.pricing import flat, monthly

TYPES = (
    AwsType(
        type="aws:wafv2/webAcl:WebAcl",
        price=flat(monthly, "webAcl", "a web ACL without its rules and requests"),
    ),
    AwsType(type="aws:wafv2/webAclAssociation:WebAclAssociation", if_made_again="accepted"),
)
