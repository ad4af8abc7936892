"""Checks of the AWS account: whether its quotas let the pools grow to their limits."""

from __future__ import annotations

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from components.ground.quota_preflight import quota_findings, quotas_of
from components.hub.inside.sections import Section
from settings import EksSettings, Settings
from verify.checks import Check, Failed, Skipped, checks_of

GROUP = "account"


def checks(settings: Settings) -> list[Check]:
    """Those of a stack on EKS."""
    if not isinstance(settings, EksSettings):
        return []
    return checks_of(GROUP, {"quotas allow the pools' limits": (lambda: quotas_allow(settings), Section.PENDING)})


def quotas_allow(settings: EksSettings) -> str:
    """Each pool can grow to its limit by the account's quotas of vCPUs, as far as those are known."""
    quotas = quotas_of(settings.node_pools.values())
    try:
        client = boto3.client("service-quotas", region_name=settings.region)
        values = {
            quota.code: client.get_service_quota(ServiceCode="ec2", QuotaCode=quota.code)["Quota"]["Value"]
            for quota in quotas
        }
    except (BotoCoreError, ClientError) as error:
        raise Skipped(f"AWS does not say the quotas here (servicequotas:GetServiceQuota): {error}") from None
    if found := list(quota_findings(settings.node_pools, values, settings.region)):
        raise Failed(f"{len(found)} pools cannot grow to their limits", Section.PENDING, "\n".join(found))
    return f"{len(quotas)} quotas"
