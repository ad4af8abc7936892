"""What a site may have installed is as the pack wants it."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_random as random
import pytest

from components.ingress.site_front import SiteFront, SiteFrontArgs
from components.storage.site_storage import SiteStorageClasses, SiteStorageClassesArgs
from policies.pack import POLICIES
from tests.policies.conftest import as_policies_see, examined
from tests.unit.engine_mocks import EngineMocks
from tests.unit.site_parts import HUB, PLACEMENT, SIGN_IN, no_secret, site


def generated(_reference: Any, parent: pulumi.Resource) -> pulumi.Output[str]:
    return random.RandomPassword("dns", length=20, opts=pulumi.ResourceOptions(parent=parent)).result


@pytest.fixture(scope="module")
def installed() -> list[Any]:
    mocks = EngineMocks()
    # As `registered` does it.
    del mocks.outputs["random:index/randomPassword:RandomPassword"]
    given = site(
        storage={
            "homes": "per-person",
            "homeSize": 20,
            "install": {
                "localPath": {},
                "seaweedfs": {"filer": "seaweedfs-filer:8888"},
                "nfs": {"server": "nas", "path": "/export"},
            },
        },
        ingress={
            "access": "ingress",
            "domain": "lab.example.com",
            "install": {
                "traefik": {"loadBalancerIP": "192.168.1.240"},
                "certManager": {
                    "dns01": {
                        "provider": "cloudflare",
                        "secret": {"kubernetesSecret": "dns", "namespace": "gpulab-secrets", "key": "token"},
                    }
                },
            },
        },
    )

    def program() -> None:
        SiteStorageClasses(
            "lab", SiteStorageClassesArgs(settings=given.storage, distribution="k3s", placement=PLACEMENT)
        )
        front = SiteFrontArgs(
            settings=given.ingress, published=[HUB, SIGN_IN], secret=generated, data=no_secret, placement=PLACEMENT
        )
        SiteFront("lab", front)

    mocks.deploy(program)
    return as_policies_see(mocks)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_what_a_site_has_installed_is_accepted(policy: Any, installed: list[Any]) -> None:
    assert examined(policy, *installed) == {}
