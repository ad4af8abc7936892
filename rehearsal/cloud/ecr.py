"""What moto's ECR lacks: pull through cache rules. Nothing is really pulled.

Modelled on the ECR API reference; codes and messages are ECR's.
"""

from __future__ import annotations

import re
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ecr import urls
from moto.ecr.exceptions import InvalidParameterException
from moto.ecr.models import ecr_backends
from moto.ecr.responses import ECRResponse

# The upstream registries that ECR supports without credentials.
_UPSTREAMS = {"public.ecr.aws": "ecr-public", "quay.io": "quay", "registry.k8s.io": "k8s"}
_WITH_CREDENTIALS = ("registry-1.docker.io", "ghcr.io", "registry.gitlab.com", "cgr.dev")
_PREFIX = re.compile(r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*/?|ROOT")
_LONGEST_PREFIX = 30


class Response(ECRResponse):
    """moto's ECR with pull through cache rules."""

    def create_pull_through_cache_rule(self) -> ActionResult:
        prefix, upstream = self._get_param("ecrRepositoryPrefix"), self._get_param("upstreamRegistryUrl")
        if not 2 <= len(prefix) <= _LONGEST_PREFIX or not _PREFIX.fullmatch(prefix):
            raise _refused(
                "InvalidParameterException",
                "Invalid parameter at 'ecrRepositoryPrefix' failed to satisfy constraint: "
                f"'must satisfy regular expression '^({_PREFIX.pattern})$'",
            )
        if upstream in _WITH_CREDENTIALS and not self._get_param("credentialArn"):
            raise _refused(
                "InvalidParameterException", f"A credentialArn is required for the upstream registry {upstream}."
            )
        if upstream not in (*_UPSTREAMS, *_WITH_CREDENTIALS):
            raise _refused(
                "UnsupportedUpstreamRegistryException", f"The specified upstream registry {upstream} isn't supported."
            )
        if prefix in self._rules:
            raise _refused(
                "PullThroughCacheRuleAlreadyExistsException",
                f"A pull through cache rule with this prefix already exists in the registry: {prefix}",
            )
        self._rules[prefix] = {
            "ecrRepositoryPrefix": prefix,
            "upstreamRegistryUrl": upstream,
            "upstreamRegistry": _UPSTREAMS.get(upstream, ""),
            "registryId": self.current_account,
            "createdAt": utcnow(),
        }
        return ActionResult(self._rules[prefix])

    def describe_pull_through_cache_rules(self) -> ActionResult:
        wanted = self._get_param("ecrRepositoryPrefixes") or list(self._rules)
        return ActionResult({"pullThroughCacheRules": [self._rule(prefix) for prefix in wanted]})

    def delete_pull_through_cache_rule(self) -> ActionResult:
        rule = self._rule(self._get_param("ecrRepositoryPrefix"))
        del self._rules[rule["ecrRepositoryPrefix"]]
        return ActionResult(rule)

    @property
    def _rules(self) -> dict[str, Any]:
        """The region's rules, which are reset with moto's own state."""
        return vars(ecr_backends[self.current_account][self.region]).setdefault("pull_through_cache_rules", {})

    def _rule(self, prefix: str) -> dict[str, Any]:
        if prefix not in self._rules:
            raise _refused(
                "PullThroughCacheRuleNotFoundException",
                f"A pull through cache rule with this prefix doesn't exist in the registry: {prefix}",
            )
        return self._rules[prefix]


def _refused(code: str, message: str) -> InvalidParameterException:
    """An ECR error. It uses a moto class, because moto derives the service from the class's module."""
    error = InvalidParameterException(message)
    error.code = code
    return error


def install() -> None:
    """Replaces moto's operations with these."""
    urls.url_paths = {"{0}/$": Response.dispatch}
