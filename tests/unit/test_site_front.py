"""The front of a site: who serves the platform's names, with which certificate, and what is open."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jsonschema
import pulumi
import pytest
from site_parts import HUB, PLACEMENT, SIGN_IN, no_secret, site

import contracts
from components.ingress.lets_encrypt import ISSUER, cert_manager_values, issuer_spec
from components.ingress.published_service import PublishedService
from components.ingress.site_front import (
    SiteFront,
    SiteFrontArgs,
    certificate_spec,
    ingress_spec,
    path_match,
    tls_data,
)
from components.ingress.traefik import TraefikArgs, traefik_values
from rehearsal.providers.kubernetes.chart_values import check
from settings.certificates import CertManager

INGRESS = "kubernetes:networking.k8s.io/v1:Ingress"
CERTIFICATE = "kubernetes:cert-manager.io/v1:Certificate"
CLUSTER_ISSUER = "kubernetes:cert-manager.io/v1:ClusterIssuer"
SECRET = "kubernetes:core/v1:Secret"
RELEASE = "kubernetes:helm.sh/v3:Release"
PEOPLE = replace(HUB, paths_below=("/jupyter/user/*",))
CLOUDFLARE = {"provider": "cloudflare", "secret": {"kubernetesSecret": "dns", "namespace": "web", "key": "token"}}


def publish(
    mocks: Any, *published: PublishedService, secret: Any = no_secret, data: Any = no_secret, **ingress: Any
) -> SiteFront:
    given = site(ingress={"access": "ingress", "domain": "lab.example.com", **ingress}).ingress
    args = SiteFrontArgs(settings=given, published=published, secret=secret, data=data, placement=PLACEMENT)
    return mocks.deploy(lambda: SiteFront("lab", args))


def crd_schema(name: str) -> Any:
    return contracts.crd(name)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


def test_each_service_has_an_ingress_in_its_namespace_with_https_and_only_its_paths(mocks) -> None:
    front = publish(mocks, HUB, SIGN_IN, ingressClass="nginx", certificate={"issuer": "lab"})
    assert front.urls == {"platform": "https://platform.lab.example.com", "auth": "https://auth.lab.example.com"}
    for service in (HUB, SIGN_IN):
        one = mocks.one(INGRESS, f"lab-{service.name}").inputs
        assert one["metadata"]["namespace"] == service.namespace
        assert one["spec"]["ingressClassName"] == "nginx"
        assert one["spec"]["tls"] == [{"hosts": [service.host], "secretName": f"{service.name}-tls"}]
        (rule,) = one["spec"]["rules"]
        assert rule["host"] == service.host
        backends = {path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
        assert backends == {service.service}
    (rule,) = mocks.one(INGRESS, "lab-auth").inputs["spec"]["rules"]
    # Not the realm master, not /admin: those stay in the cluster.
    assert {(path["path"], path["pathType"]) for path in rule["http"]["paths"]} == {
        ("/realms/gpulab/", "Prefix"),
        ("/resources/", "Prefix"),
    }


def test_without_a_class_the_clusters_default_class_serves(mocks) -> None:
    publish(mocks, HUB, certificate={"issuer": "lab"})
    assert "ingressClassName" not in mocks.one(INGRESS).inputs["spec"]
    assert mocks.all(RELEASE) == []


def test_the_sites_annotations_replace_the_platforms(mocks) -> None:
    key = "nginx.ingress.kubernetes.io/proxy-body-size"
    publish(mocks, HUB, annotations={key: "10g", "example.com/own": "yes"}, certificate={"issuer": "lab"})
    found = mocks.one(INGRESS).inputs["metadata"]["annotations"]
    assert (found[key], found["example.com/own"]) == ("10g", "yes")
    assert found["traefik.ingress.kubernetes.io/router.entrypoints"] == "websecure", "never by HTTP alone"


def test_an_issuer_of_the_cluster_certifies_the_names_of_a_service_and_those_of_peoples_notebooks(mocks) -> None:
    publish(mocks, PEOPLE, certificate={"issuer": "lab"})
    found = mocks.one(CERTIFICATE).inputs
    ingress = mocks.one(INGRESS).inputs
    assert found["metadata"]["namespace"] == ingress["metadata"]["namespace"]
    (tls,) = ingress["spec"]["tls"]
    assert (found["spec"]["secretName"], found["spec"]["dnsNames"]) == (tls["secretName"], tls["hosts"])
    assert tls["hosts"] == ["platform.lab.example.com", "*.platform.lab.example.com"]
    assert {rule["host"]: [path["path"] for path in rule["http"]["paths"]] for rule in ingress["spec"]["rules"]} == {
        "platform.lab.example.com": ["/"],
        "*.platform.lab.example.com": ["/jupyter/user/"],
    }
    assert found["spec"]["issuerRef"]["name"] == "lab"
    jsonschema.validate(certificate_spec(PEOPLE, "lab"), crd_schema("certificates.cert-manager.io"))


def test_the_sites_own_certificate_is_copied_to_where_each_ingress_reads_it(mocks) -> None:
    given = {"tls.crt": "Y2VydA==", "tls.key": "a2V5", "ca.crt": "Y2E="}
    read = {("ingress", "lab-tls"): given}
    own = {"secret": "lab-tls", "namespace": "ingress"}
    publish(mocks, HUB, SIGN_IN, certificate=own, data=lambda *place: read[place])
    copies = {one.inputs["metadata"]["namespace"]: one.inputs for one in mocks.all(SECRET) if "type" in one.inputs}
    assert copies.keys() == {"hub", "identity"}
    for service in (HUB, SIGN_IN):
        copy = copies[str(service.namespace)]
        assert (copy["type"], copy["metadata"]["name"]) == ("kubernetes.io/tls", f"{service.name}-tls")
        assert copy["data"] == {key: given[key] for key in ("tls.crt", "tls.key")}
    assert mocks.all(CERTIFICATE) == []


def test_a_secret_without_a_certificate_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"ingress/lab-tls of gpulab:ingress\.certificate has no tls\.key"):
        tls_data({"tls.crt": "Y2VydA=="}, "ingress/lab-tls")


def test_what_is_installed_is_there_before_ingresses_and_until_they_are_gone(mocks) -> None:
    install = {"traefik": {"loadBalancerIP": "192.168.1.240"}, "certManager": {"email": "ada@example.com"}}
    publish(mocks, HUB, install=install)
    ingress, certificate = mocks.one(INGRESS), mocks.one(CERTIFICATE)
    traefik, manager = mocks.one(RELEASE, "lab-traefik"), mocks.one(RELEASE, "lab-certificates")
    issuer = mocks.one(CLUSTER_ISSUER)
    assert mocks.needs(ingress, traefik)
    assert mocks.needs(certificate, issuer)
    assert mocks.needs(issuer, manager)
    assert issuer.inputs["metadata"]["name"] == certificate.inputs["spec"]["issuerRef"]["name"] == ISSUER
    # HTTP-01 is answered by the same controller.
    (solver,) = issuer.inputs["spec"]["acme"]["solvers"]
    assert solver["http01"]["ingress"]["ingressClassName"] == ingress.inputs["spec"]["ingressClassName"]
    assert traefik.inputs["values"]["service"]["spec"] == {"type": "LoadBalancer", "loadBalancerIP": "192.168.1.240"}


def test_traefik_serves_its_own_class_alone(mocks) -> None:
    """A site may have another controller, whose Ingresses name no class or its own."""
    publish(mocks, HUB, ingressClass="public", install={"traefik": {}}, certificate={"issuer": "lab"})
    values = mocks.one(RELEASE).inputs["values"]
    assert values["ingressClass"] == {"enabled": True, "isDefaultClass": False, "name": "public"}
    assert values["providers"]["kubernetesIngress"]["ingressClass"] == "public"
    assert mocks.one(INGRESS).inputs["spec"]["ingressClassName"] == "public"


def test_the_secret_of_dns01_is_where_cert_manager_looks_for_it(mocks) -> None:
    asked = []

    def secret(reference: Any, _parent: Any) -> pulumi.Output[str]:
        asked.append(reference.key)
        return pulumi.Output.secret("of the provider")

    publish(mocks, HUB, secret=secret, install={"certManager": {"letsEncrypt": "staging", "dns01": CLOUDFLARE}})
    (made,) = mocks.all(SECRET)
    issuer = mocks.one(CLUSTER_ISSUER).inputs["spec"]["acme"]
    (solver,) = issuer["solvers"]
    named = solver["dns01"]["cloudflare"]["apiTokenSecretRef"]
    assert asked == ["token"]
    assert made.inputs["metadata"] == {"name": named["name"], "namespace": "cert-manager"}
    assert made.inputs["stringData"] == {named["key"]: "of the provider"}
    assert "staging" in issuer["server"]


@pytest.mark.parametrize(
    "dns01",
    [
        None,
        CLOUDFLARE,
        {**CLOUDFLARE, "provider": "digitalocean"},
        {**CLOUDFLARE, "provider": "route53", "region": "us-east-1", "accessKeyId": "A" * 20, "hostedZoneId": "Z1"},
        {**CLOUDFLARE, "provider": "rfc2136", "nameserver": "192.168.1.53", "tsigKeyName": "gpulab"},
    ],
)
@pytest.mark.parametrize("ingress_class", [None, "nginx"])
def test_cert_manager_takes_every_issuer(dns01: Any, ingress_class: str | None) -> None:
    given = CertManager.model_validate({"email": "ada@example.com", "dns01": dns01})
    jsonschema.validate(issuer_spec(given, ingress_class), crd_schema("clusterissuers.cert-manager.io"))


def test_the_charts_take_their_values() -> None:
    traefik = TraefikArgs(ingress_class="public", load_balancer_ip="192.168.1.240", placement=PLACEMENT)
    for chart, values in (("traefik", traefik_values(traefik)), ("cert-manager", cert_manager_values(PLACEMENT))):
        contract = contracts.chart(chart)
        assert check(values, contract.values, contract.schema) == []
        assert contract.schema
        jsonschema.validate(values, contract.schema)


@pytest.mark.parametrize("pattern", ["/a*", "/a/*/b", "/a?"])
def test_a_path_that_no_ingress_has_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="an Ingress has exact paths"):
        path_match(pattern)
    assert path_match("/a/b") == {"path": "/a/b", "pathType": "Exact"}


def test_names_of_peoples_notebooks_are_asked_for_on_a_site() -> None:
    """Neither its DNS nor its certificate has *.platform.DOMAIN unless somebody cares for that."""
    sections: dict[str, Any] = {
        "identity": {"administrators": ["ada@example.com"], "database": {"kind": "cloudnative-pg"}},
        "ingress": {"access": "ingress", "domain": "lab.example.com", "certificate": {"issuer": "lab"}},
        "profiles": {
            "gpu": {
                "displayName": "GPU",
                "image": "quay.io/jupyter/pytorch-notebook:cuda12-2026-08-03",
                "gpu": {"pool": "gpu", "count": 1},
                "cpu": 1,
                "memory": 2,
            }
        },
        "teams": {
            "research": {
                "description": "Research",
                "profiles": ["gpu"],
                "quota": {"cpu": 2, "memory": 4, "notebooks": 1, "gpus": 1, "storage": 20},
            }
        },
    }
    by_default = site(**sections)
    assert not by_default.has_subdomains
    assert not by_default.administrators_enter_notebooks
    assert site(**sections, hub={"subdomains": True}).has_subdomains
    assert ingress_spec(HUB, ingress_class=None)["tls"][0]["hosts"] == ["platform.lab.example.com"]
