"""The rehearsal's own charts: they use what the platform gives, and their objects fit each other and the platform."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_configuration import set_by_chart
from node_chart_lab import (
    DATABASE_URL,
    STACK_FILES,
    ChartLab,
    HelmRefusedError,
    Object,
    Release,
    changed,
    driver_releases,
    hub_configuration,
    hub_release,
    keycloak_release,
    leaves,
    operator_release,
    stack,
    traefik_release,
)
from traitlets.config import Config

import contracts
from components.hub import jupyterhub
from components.hub.values import COOKIE_SECRET_KEY, CRYPT_KEYS_KEY, DATABASE_PASSWORD_KEY, hub_url
from components.identity import keycloak
from components.images import chart_images
from components.storage.site_storage import NFS_CHART, NFS_DRIVER, SEAWEEDFS_CHART, SEAWEEDFS_DRIVER
from components.teams.names import HUB_NAMESPACE, HUB_PORT, HUB_SERVICE_ACCOUNT
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import PROJECT
from rehearsal.node import charts
from rehearsal.providers.kubernetes import archives

ONE_MACHINE = PROJECT / "examples" / "one-machine.yaml"
# It pulls images ahead, with a pull secret.
MICROK8S = PROJECT / "examples" / "microk8s.yaml"
SECRETS = {COOKIE_SECRET_KEY: "given", CRYPT_KEYS_KEY: "one;two", DATABASE_PASSWORD_KEY: "hunter2"}
WITH_PODS = ("Deployment", "StatefulSet", "DaemonSet")

# Annotations that differ in each rendering.
RANDOM = ("checksum/secret", "checksum/auth-token")


@pytest.fixture(scope="module")
def lab(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> ChartLab:
    folder = tmp_path_factory.mktemp("charts")
    charts.write(folder)
    return ChartLab(folder, toolchain.path("helm"))


def with_hub() -> Iterator[Any]:
    """The hub's release of each stack file; of EKS with its database on RDS."""
    for path in STACK_FILES:
        of = stack(path)
        if of.running_hub:
            on_eks = path.stem in ("Pulumi.dev", "Pulumi.prod")
            yield pytest.param(hub_release(of, database_url=DATABASE_URL if on_eks else None), id=path.stem)


OTHERS = [
    pytest.param(keycloak_release(stack(ONE_MACHINE)), id="keycloakx"),
    pytest.param(traefik_release(), id="traefik"),
    pytest.param(operator_release(), id="cloudnative-pg"),
]
RELEASES = [*with_hub(), *OTHERS]


def pods(objects: list[Object]) -> Iterator[Object]:
    """The templates of pods."""
    yield from (one["spec"]["template"] for one in objects if one["kind"] in WITH_PODS)


def containers(objects: list[Object]) -> Iterator[Object]:
    for pod in pods(objects):
        yield from (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"])


def one(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def test_the_charts_are_found_in_place_of_the_real_ones(lab: ChartLab) -> None:
    for name in (*charts.NAMES, *charts.DRIVERS):
        contract = contracts.chart(name)
        found = archives.find(name, contract.version, [lab.charts])
        assert found
        assert found.defaults == contract.values
        what = "stand-in" if name in charts.DRIVERS else "own-templates"
        assert found.metadata["annotations"] == {f"gpulab.dev/{what}": "true"}, "the report says so"


@pytest.mark.parametrize("release", RELEASES)
def test_helm_renders_each_with_the_values_of_the_platform(lab: ChartLab, release: Release) -> None:
    assert lab.render(release)


def rendered(lab: ChartLab, release: Release) -> tuple[list[Object], str]:
    """The objects of a release, and a text that differs if they do; or none, and why Helm refuses."""
    try:
        objects = lab.render(release, "--skip-schema-validation")
    except HelmRefusedError as refused:
        return [], str(refused)
    compared = copy.deepcopy(objects)
    for pod in pods(compared):
        annotations = pod["metadata"].get("annotations", {})
        pod["metadata"]["annotations"] = {key: value for key, value in annotations.items() if key not in RANDOM}
    # The hub's Secret has all values, and new random ones in each rendering.
    return objects, json.dumps([one for one in compared if one["kind"] != "Secret"], sort_keys=True)


def unused(lab: ChartLab, release: Release, folder: Path) -> Iterator[str]:
    """The values that change neither an object nor the hub's configuration."""

    def configured(objects: list[Object]) -> str:
        try:
            return json.dumps(hub_configuration(objects, folder, **SECRETS), default=str)
        except NameError as error:  # in the code of hub.extraConfig
            return str(error)

    objects, text = rendered(lab, release)
    paths = list(leaves(release.values))
    with ThreadPoolExecutor(2) as pool:
        after = list(pool.map(lambda path: rendered(lab, changed(release, path)), paths))
    of_hub = configured(objects) if release.chart == "jupyterhub" else ""
    for path, (new_objects, new_text) in zip(paths, after, strict=True):
        if new_text == text and not (of_hub and configured(new_objects) != of_hub):
            yield ".".join(map(str, path))


@pytest.mark.seconds(30)
@pytest.mark.parametrize("release", [pytest.param(hub_release(stack(MICROK8S)), id="jupyterhub"), *OTHERS])
def test_every_value_of_the_platform_has_an_effect(lab: ChartLab, release: Release, tmp_path: Path) -> None:
    assert set(unused(lab, release, tmp_path)) == set()


@pytest.mark.parametrize("name", charts.NAMES)
def test_a_setting_that_a_chart_has_no_template_for_is_refused(lab: ChartLab, name: str) -> None:
    release = next(one.values[0] for one in RELEASES if one.values[0].chart == name)
    path, *_ = yaml.safe_load((lab.charts / name / "only.yaml").read_text(encoding="utf-8"))
    other: Any = "other"
    for key in reversed(path.split(".")):
        other = {key: other}
    asked = Release(name, release.name, release.namespace, merged(release.values, other))
    with pytest.raises(HelmRefusedError, match=rf"{path}: .*other.*own chart has templates only for"):
        lab.render(asked, "--skip-schema-validation")


def merged(under: Any, over: Any) -> Any:
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    return {**under, **{key: merged(under.get(key), value) for key, value in over.items()}}


@pytest.mark.parametrize("release", RELEASES)
def test_services_and_policies_select_pods_and_ports_that_there_are(lab: ChartLab, release: Release) -> None:
    objects = lab.render(release)
    templates = list(pods(objects))

    def selected(labels: dict[str, str]) -> list[Object]:
        return [pod for pod in templates if labels.items() <= pod["metadata"]["labels"].items()]

    for found in objects:
        if found["kind"] == "Service":
            (pod,) = selected(found["spec"]["selector"])
            ports = [port for container in pod["spec"]["containers"] for port in container["ports"]]
            names = {port["name"] for port in ports}
            # Services of Keycloak name a port for HTTPS, as the chart's do.
            assert {port["targetPort"] for port in found["spec"]["ports"]} <= names
        elif found["kind"] in WITH_PODS:
            assert selected(found["spec"]["selector"]["matchLabels"]) == [found["spec"]["template"]]
        elif found["kind"] == "PodDisruptionBudget":
            assert len(selected(found["spec"]["selector"]["matchLabels"])) == 1
        elif found["kind"] == "NetworkPolicy" and found["metadata"]["name"] != "singleuser":
            assert len(selected(found["spec"]["podSelector"]["matchLabels"])) == 1


@pytest.mark.parametrize("release", RELEASES)
def test_pod_security_restricted_admits_every_pod(lab: ChartLab, release: Release) -> None:
    for pod in pods(lab.render(release)):
        of_pod = pod["spec"].get("securityContext", {})
        for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]):
            own = container["securityContext"]
            context = {**of_pod, **own}
            assert context["runAsNonRoot"] is True
            assert context.get("runAsUser") != 0
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("release", RELEASES)
def test_images_are_those_of_the_contract(lab: ChartLab, release: Release) -> None:
    known = set(chart_images(release.chart).values())
    known |= {"docker.io/traefik:v3.7.11"} if release.chart == "traefik" else set()
    known |= {keycloak.keycloak_image(None, by_digest=False)} if release.chart == "keycloakx" else set()
    found = {container["image"].partition("@")[0] for container in containers(lab.render(release))}
    of_profiles = {image for image in found if "-notebook" in image}
    ours = {image.rpartition("/")[2] for image in found - of_profiles}
    assert ours <= {image.rpartition("/")[2] for image in known}


def test_the_platform_finds_the_hub_under_the_names_that_it_knows(lab: ChartLab) -> None:
    objects = lab.render(hub_release(stack(ONE_MACHINE)))
    hub = one(objects, "Service", "hub")
    assert hub_url() == f"http://hub.{HUB_NAMESPACE}.svc.cluster.local:{hub['spec']['ports'][0]['port']}"
    (port,) = one(objects, "Service", jupyterhub.PROXY_SERVICE)["spec"]["ports"]
    assert port["port"] == jupyterhub.PROXY_SERVICE_PORT
    proxy = one(objects, "Deployment", "proxy")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "http", "containerPort": jupyterhub.PROXY_PORT} in proxy["ports"]
    assert proxy["readinessProbe"]["httpGet"]["path"] == jupyterhub.HEALTH_PATH
    pod = one(objects, "Deployment", "hub")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == HUB_SERVICE_ACCOUNT
    assert pod["containers"][0]["ports"] == [{"name": "http", "containerPort": HUB_PORT}]
    assert not [found for found in objects if found["kind"] in ("Role", "RoleBinding")], "the program makes its own"


def test_the_platform_finds_keycloak_under_the_names_that_it_knows(lab: ChartLab) -> None:
    objects = lab.render(keycloak_release(stack(ONE_MACHINE)))
    ports = {port["name"]: port["port"] for port in one(objects, "Service", keycloak.SERVICE)["spec"]["ports"]}
    assert (ports["http"], ports["http-internal"]) == (keycloak.SERVICE_PORT, keycloak.HEALTH_PORT)
    (container,) = one(objects, "StatefulSet", keycloak.NAME)["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == keycloak.HEALTH_PATH
    variables = {variable["name"]: variable for variable in container["env"]}
    assert len(variables) == len(container["env"]), "each once"
    reference = {"name": keycloak.DATABASE_SECRET, "key": keycloak.PASSWORD_KEY}
    assert variables["KC_DB_PASSWORD"]["valueFrom"] == {"secretKeyRef": reference}


@pytest.mark.parametrize("release", list(with_hub()))
def test_notebooks_are_configured_as_other_tests_take_for_granted(
    lab: ChartLab, release: Release, tmp_path: Path
) -> None:
    made = hub_configuration(lab.render(release), tmp_path, **SECRETS)
    expected = Config()
    set_by_chart(expected, release.values)
    assert made.KubeSpawner == expected.KubeSpawner
    assert {**made.Spawner} == {**expected.Spawner}


def test_what_the_platform_configures_comes_last(lab: ChartLab, tmp_path: Path) -> None:
    made = hub_configuration(lab.render(hub_release(stack(ONE_MACHINE))), tmp_path, **SECRETS)
    assert made.JupyterHub.hub_connect_url == hub_url()
    assert made.JupyterHub.authenticator_class == "generic-oauth"
    assert made.Gpulab.is_loaded is True
    assert made.JupyterHub.cookie_secret == "given", "of the existing Secret, not of the chart's own"
    assert made.CryptKeeper["keys"] == ["one", "two"]
    assert made.ConfigurableHTTPProxy.api_url == "http://proxy-api:8001"


@pytest.mark.parametrize("release", driver_releases(), ids=lambda release: release.chart)
def test_charts_of_drivers_only_say_what_these_can_do(lab: ChartLab, release: Release) -> None:
    (found,) = lab.render(release)
    driver, attaches = {NFS_CHART: (NFS_DRIVER, False), SEAWEEDFS_CHART: (SEAWEEDFS_DRIVER, True)}[release.chart]
    assert (found["kind"], found["metadata"]["name"]) == ("CSIDriver", driver)
    assert found["spec"]["attachRequired"] is attaches
