"""A stack whose hub signs people in by GitHub itself or with a token: what the program makes of its file."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import platform_lab
import pulumi
import pytest
from engine_mocks import EngineMocks
from jupyterhub.app import JupyterHub
from test_jupyterhub import IMAGE, answer
from traitlets.config import Config

import contracts
import settings
from components.ground.reach import Reach
from components.ground.secrets import from_secrets_manager
from components.ground.system_nodes import SYSTEM_NODES
from components.hub.catalogue_from_settings import catalogue, catalogue_text, sign_in
from components.hub.inside import catalogue as inside
from components.hub.inside import sign_in as hub_sign_in
from components.hub.inside.people import ADMINISTRATORS
from components.hub.jupyterhub import Hub, HubArgs
from components.hub.values import HubValuesArgs, hub_values
from components.identity.first_sign_in import hub_output
from components.identity.keycloak import SERVER_PORT
from components.storage.files import EfsFiles
from rehearsal.account_secrets import references
from rehearsal.providers.kubernetes.chart_values import check
from settings.site_ingress import SiteIngress

STACKS = Path(__file__).parents[1] / "stacks"
REACH = Reach(cluster_cidr="10.40.0.0/16", api_server_cidrs=("10.40.0.0/16",))
CHART = contracts.chart("jupyterhub")
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:gpulab/github-AbCdEf"
INTERNAL = {"access": "internal", "domain": "lab.example.com", "cidrs": ["10.0.0.0/8"]}
GITHUB: dict[str, Any] = {
    "signIn": "github",
    "github": {"organizations": ["example"], "clientId": "of-the-app", "clientSecret": {"secretsManager": ARN}},
}
TEAM = {"description": "Models", "quota": {"cpu": 8, "memory": 32, "notebooks": 4}, "profiles": ["python"]}


def lab(hub: dict[str, Any], *teams: str, **sections: Any) -> settings.EksSettings:
    """A lab without Keycloak."""
    given = {
        "profiles": {"python": {"displayName": "Python", "image": IMAGE, "cpu": 2, "memory": 4}},
        "teams": dict.fromkeys(teams or ("research",), TEAM),
        "hub": hub,
        **({"ingress": INTERNAL} if hub["signIn"] == "github" else {}),
        **sections,
    }
    config = platform_lab.config(**{f"gpulab:{name}": value for name, value in given.items()})
    return settings.on_eks(settings.load(config, stack="dev", today=datetime.date(2027, 1, 1)))


def made(stack: settings.EksSettings) -> tuple[EngineMocks, dict[str, str]]:
    """The hub's graph, and what its Secret holds."""
    mocks = EngineMocks()
    answer(mocks)
    args = HubArgs(
        settings=stack,
        client_secret=None,
        files=EfsFiles(file_system_id="fs-1"),
        secret=from_secrets_manager,
        placement=SYSTEM_NODES,
        reach=REACH,
        kubeconfig="{}",
    )
    mocks.deploy(lambda: Hub("hub", args, pulumi.ResourceOptions()))
    (secret,) = [
        one for one in mocks.all("kubernetes:core/v1:Secret") if one.inputs["metadata"]["name"] == "hub-secrets"
    ]
    return mocks, secret.inputs["stringData"]


def values(stack: settings.Settings) -> dict[str, Any]:
    given = HubValuesArgs(
        settings=stack,
        placement=SYSTEM_NODES,
        reach=REACH,
        modules="modules",
        catalogue="catalogue",
        secrets_checksum="0" * 64,
    )
    return hub_values(given)


def test_the_hub_makes_the_token_once_and_finds_it_where_the_chart_mounts_it() -> None:
    mocks, held = made(lab({"signIn": "token"}))
    token = held[hub_sign_in.TOKEN.name]
    assert token == "generated for hub-token"
    generated = mocks.one("random:index/randomPassword:RandomPassword", "hub-token")
    assert generated.inputs["length"] * 4 >= 256, "bits of hex digits: nobody guesses it"
    assert not generated.inputs.get("keepers"), "no upgrade makes another one"
    assert hub_sign_in.CLIENT_SECRET.name not in held
    others = [one.inputs for one in mocks.resources if one.type != "kubernetes:core/v1:Secret"]
    assert token not in json.dumps(others, default=str)


def test_githubs_client_secret_is_read_from_where_the_stack_file_says() -> None:
    mocks, held = made(lab(GITHUB))
    assert json.loads(held[hub_sign_in.CLIENT_SECRET.name]) == {"password": "kept in Secrets Manager"}
    assert hub_sign_in.TOKEN.name not in held
    (call,) = [one for one in mocks.calls if one.token.endswith(":getSecretVersion")]
    assert call.args["secretId"] == ARN
    assert [one.secrets_manager for one in references(None, lab(GITHUB).hub)] == [ARN], "and the rehearsal has it"


@pytest.mark.parametrize("hub", [{"signIn": "token"}, GITHUB], ids=["token", "github"])
def test_the_chart_starts_jupyterhubs_own_authenticator_and_nothing_reaches_for_keycloak(hub: dict[str, Any]) -> None:
    found = values(lab(hub))
    assert check(found, CHART.values, CHART.schema) == []
    name = found["hub"]["config"]["JupyterHub"]["authenticator_class"]
    chosen = JupyterHub(config=Config(JupyterHub={"authenticator_class": name})).authenticator_class
    ours = {"token": hub_sign_in.TokenAuthenticator, "github": hub_sign_in.GithubAuthenticator}[hub["signIn"]]
    assert issubclass(ours, chosen)
    assert found["hub"]["config"].keys() == {"JupyterHub"}, "who gets in is nothing of Helm's values"
    policy = found["hub"]["networkPolicy"]
    assert SERVER_PORT not in [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert policy["egressAllowRules"]["nonPrivateIPs"] is (hub["signIn"] == "github")


def test_a_hub_that_nobody_could_sign_in_to_is_not_made() -> None:
    stack = platform_lab.config(
        **{
            "gpulab:profiles": {"python": {"displayName": "Python", "image": IMAGE, "cpu": 2, "memory": 4}},
            "gpulab:teams": {"research": TEAM},
            "gpulab:identity": {"administrators": ["ada@example.com"]},
        }
    )
    with pytest.raises(ValueError, match="nobody could sign in"):
        made(settings.on_eks(settings.load(stack, stack="dev", today=datetime.date(2027, 1, 1))))


@pytest.mark.parametrize(
    ("hub", "members", "everybody"),
    [
        ({"signIn": "token"}, {"/research/data-scientist": ("lab",)}, ()),
        (
            {"signIn": "token", "administrators": ["ada"]},
            {"/research/data-scientist": ("ada",), ADMINISTRATORS: ("ada",)},
            (),
        ),
        ({"signIn": "token", "members": {"research": {"developer": ["ada"]}}}, {"/research/developer": ("ada",)}, ()),
        (GITHUB, {}, ("/research/data-scientist",)),
        ({**GITHUB, "administrators": ["Ada"]}, {ADMINISTRATORS: ("ada",)}, ("/research/data-scientist",)),
        (
            {**GITHUB, "members": {"research": {"developer": ["Example/Readers".lower(), "Ada"]}}},
            {"/research/developer": ("example/readers", "ada")},
            (),
        ),
    ],
)
def test_who_is_in_which_group(hub: dict[str, Any], members: dict[str, Any], everybody: tuple[str, ...]) -> None:
    stack = lab(hub)
    assert sign_in(stack).members == members
    assert sign_in(stack).everybody == everybody
    read = inside.parse(json.loads(catalogue_text(catalogue(stack))))
    assert read.hub.sign_in == sign_in(stack)
    assert (read.hub.realm_url, read.hub.realm_url_inside) == (None, None)


@pytest.mark.parametrize("name", ["existing-token", "existing-token-on-a-lan", "existing-github"])
def test_a_cluster_that_exists_has_such_a_hub_too(name: str) -> None:
    stack = settings.check_stack_file(STACKS / f"{name}.happy.yaml", "lab", datetime.date(2026, 6, 1))
    assert check(values(stack), CHART.values, CHART.schema) == []
    read = inside.parse(json.loads(catalogue_text(catalogue(stack))))
    config = Config()
    hub_sign_in.sign_in(config, read)
    assert not config.JupyterHub.authenticator_class(config=config).allow_all
    command, *_ = hub_output(stack)["firstSignIn"]
    assert ("--context k3s" in command) is name.startswith("existing-token"), "a command is for this cluster"


def test_a_stack_with_keycloak_has_the_catalogue_of_before() -> None:
    stack = settings.check_stack_file(STACKS.parents[1] / "Pulumi.dev.yaml", "dev", datetime.date(2026, 6, 1))
    assert "signIn" not in catalogue(stack)["hub"]
    assert inside.parse(catalogue(stack)).hub.sign_in is None


def test_the_outputs_say_how_to_read_the_token_and_not_the_token() -> None:
    found = hub_output(lab({"signIn": "token", "members": {"research": {"developer": ["ada", "grace"]}}}))
    first, second = found["firstSignIn"]
    assert "kubectl -n hub get secret hub-secrets -o jsonpath='{.data.sign-in-token}' | base64 -d" in first
    assert "http://localhost:8000/jupyter/" in second
    assert "ada or grace" in second
    assert "signIn" not in found, "there is no account to change a password of"


def test_the_outputs_name_the_callback_that_the_hub_has_at_github() -> None:
    stack = lab(GITHUB)
    config = Config()
    document = json.loads(catalogue_text(catalogue(stack)))
    hub_sign_in.sign_in(config, inside.parse(document))
    assert config.GithubAuthenticator.oauth_callback_url in "\n".join(hub_output(stack)["firstSignIn"])


@pytest.mark.parametrize(
    ("domain", "public"),
    [
        (None, False),
        ("lab.home.arpa", False),
        ("lab.corp.internal", False),
        ("lab.example.com", True),
        ("internal.example.com", True),
        ("lab.xlocal", True),
        ("notinternal.local.example.com", True),
    ],
)
def test_a_site_is_taken_to_be_on_the_internet_unless_its_name_can_not_be(domain: str | None, public: bool) -> None:
    access = "ingress" if domain else "port-forward"
    assert SiteIngress.model_validate({"access": access, "domain": domain}).on_the_internet is public


@pytest.mark.parametrize(
    ("address", "domain", "public"),
    [
        ("192.168.1.240", "lab.example.com", False),
        ("fd00::1", "lab.example.com", False),
        ("203.0.114.9", "lab.home.arpa", True),
    ],
)
def test_the_address_of_a_load_balancer_says_it_better_than_a_name(address: str, domain: str, public: bool) -> None:
    install = {"traefik": {"loadBalancerIP": address}}
    given = {"access": "ingress", "domain": domain, "install": install, "certificate": {"issuer": "site"}}
    assert SiteIngress.model_validate(given).on_the_internet is public


@pytest.mark.parametrize(
    ("ground", "command"),
    [
        ({"context": "k3s"}, "kubectl --context k3s"),
        ({"context": "my lab"}, "kubectl --context 'my lab'"),
        ({"context": "k3s", "kubeconfig": "~/my lab"}, "kubectl --kubeconfig ~/'my lab' --context k3s"),
    ],
)
def test_commands_for_a_cluster_that_exists_name_its_context(
    tmp_path: Path, ground: dict[str, str], command: str
) -> None:
    text = (STACKS / "existing-token.happy.yaml").read_text(encoding="utf-8")
    file = tmp_path / "Pulumi.lab.yaml"
    given = json.dumps({"kind": "existing", "distribution": "k3s", **ground})
    written = "{kind: existing, context: k3s, distribution: k3s}"
    assert written in text
    file.write_text(text.replace(written, given), encoding="utf-8")
    assert settings.check_stack_file(file, "lab", datetime.date(2026, 6, 1)).kubectl == command
