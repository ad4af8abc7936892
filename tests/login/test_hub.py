"""Signing in to the hub of the lab `dev`, and starting a notebook there: what each person sees, gets and is refused."""

from __future__ import annotations

import base64
import datetime
import json
import math
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from background import background
from browser import page_text, request
from hub_lab import HubLab, Notebook, Person, running_hub
from keycloak_lab import PROJECT, TODAY, KeycloakLab
from notebook_lab import hub_kubeconfig, make_teams

import settings
from components.hub.culling import SILENT_ROUNDS
from components.notebook_catalogue import catalogue
from components.realm import REALM, Addresses
from rehearsal import control_plane
from rehearsal.aws.access import access_bindings
from rehearsal.controllers.world import NODES, Kubernetes, Object, place
from rehearsal.processes import free_ports
from rehearsal.toolchain import Toolchain

pytestmark = pytest.mark.seconds(250)

PASSWORD = "Correct-Horse-7-Battery"
WAIT_SECONDS = 240
# What nobody has to be in time for: the labs' notebooks say how long they have been quiet, which is always as long.
IDLE_SECONDS = 5
# Here somebody has to be: a page is opened between the start and the end.
LIFETIME_SECONDS = 60


@pytest.fixture(scope="module")
def kubeconfig(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of a control plane with one node, which is of the CPU pool."""
    folder = tmp_path_factory.mktemp("control-plane")
    with background(folder / "logs") as processes:
        plane = control_plane.start(
            folder, toolchain, processes, token_review_url="http://127.0.0.1:9/", bindings=access_bindings()
        )
        amounts = {"cpu": "16", "memory": "64Gi", "pods": "29", "ephemeral-storage": "200Gi"}
        node = {
            "metadata": {"name": "node", "labels": {"gpulab.dev/pool": "cpu"}},
            "status": {"capacity": amounts, "allocatable": amounts},
        }
        Kubernetes(plane.kubeconfig).create(place(NODES, "node"), node)
        yield plane.kubeconfig


@pytest.fixture(scope="module")
def hub(keycloak: KeycloakLab, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubLab]:
    """dev's hub, which asks Keycloak for people's groups at each request, and looks after notebooks every second."""
    stack = settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", "dev", TODAY)
    assert stack.identity
    (port,) = free_ports(1)
    platform = f"http://localhost:{port}"
    keycloak.forget()
    secrets = keycloak.apply(stack.identity, Addresses(keycloak.public, platform), tuple(stack.teams))
    document: Any = catalogue(stack)
    document["hub"] |= {
        "platformUrl": platform,
        "realmUrl": keycloak.realm_url,
        "realmUrlInside": f"{keycloak.url}/realms/{REALM}",
        "refreshGroupsSeconds": 1,
        "cullEverySeconds": 1,
    }
    document["profiles"]["python"]["idle"] = IDLE_SECONDS
    document["profiles"]["agents"]["lifetime"] = LIFETIME_SECONDS
    kubernetes = Kubernetes(kubeconfig)
    make_teams(kubernetes, stack)
    folder = tmp_path_factory.mktemp("hub")
    with running_hub(
        folder,
        port=port,
        keycloak=keycloak,
        client_secret=secrets["CLIENT_JUPYTERHUB_SECRET"],
        document=document,
        kubernetes=kubernetes,
        kubeconfig=hub_kubeconfig(kubernetes, kubeconfig, folder),
    ) as running:
        yield running


@pytest.fixture
def account(hub: HubLab, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Makes an account of this test alone, in these groups and with these realm roles."""

    def made(*groups: str, roles: tuple[str, ...] = ()) -> str:
        name = f"{request.node.name.removeprefix('test_').replace('_', '-')[:40]}-{len(groups)}"
        representation = {
            "username": name,
            "email": f"{name}@example.com",
            "emailVerified": True,
            "firstName": "Some",
            "lastName": "One",
            "enabled": True,
            "groups": list(groups),
            "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
        }
        hub.keycloak.admin("POST", f"/{REALM}/users", representation)
        if roles:
            id = hub.keycloak.person(name)["id"]
            found = [hub.keycloak.ask(f"/roles/{role}") for role in roles]
            hub.keycloak.admin("POST", f"/{REALM}/users/{id}/role-mappings/realm", found)
        return name

    return made


def until(holds: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (result := holds()):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.3)
    return result


def leave(hub: HubLab, name: str, group: str) -> None:
    id = hub.keycloak.person(name)["id"]
    (found,) = [one for one in hub.keycloak.ask(f"/users/{id}/groups") if one["path"] == group]
    hub.keycloak.admin("DELETE", f"/{REALM}/users/{id}/groups/{found['id']}")


def test_a_person_sees_the_profiles_of_their_role_in_each_of_their_teams(
    hub: HubLab, account: Callable[..., str]
) -> None:
    name = account("/research/data-scientist", "/data-platform/developer")
    person = hub.person()
    assert person.sign_in(name, PASSWORD).status == 200
    page = page_text(person.open("/hub/spawn").text)
    assert "research: Fine-tuning" in page
    assert "data-platform: Spark" in page
    assert "vision:" not in page

    developer = hub.person()
    developer.sign_in(account("/research/developer"), PASSWORD)
    page = page_text(developer.open("/hub/spawn").text)
    assert "PyTorch" in page
    assert "Fine-tuning" not in page, "it is for data scientists"
    assert "research:" not in page, "with one team, its name is left out"


def test_who_is_in_no_team_is_not_let_in(hub: HubLab, account: Callable[..., str]) -> None:
    person = hub.person()
    refused = person.sign_in(account(), PASSWORD)
    assert refused.status == 403
    assert "you are in no team" in page_text(refused.text)
    assert person.open("/hub/home").asks_for("username") or person.open("/hub/home").status == 403


def test_nobody_gets_in_by_another_way(hub: HubLab) -> None:
    person = hub.person()
    page = person.open("/hub/login")
    assert page.asks_for("password"), "that of Keycloak"
    assert hub.keycloak.public in page.form[0]
    for path in ("/hub/login", "/hub/signup"):
        answer, cookies = request("POST", f"{hub.url}{path}", data={"username": "admin", "password": "admin"})
        assert answer.status in (403, 404, 405), (path, answer.status)
        assert not any("login" in one for one in cookies)
    assert request("GET", f"{hub.url}/hub/api/users")[0].status == 403


def test_the_platforms_administrators_are_the_hubs_and_a_teams_are_not(
    hub: HubLab, account: Callable[..., str]
) -> None:
    person = hub.person()
    person.sign_in(account(roles=("administrator",)), PASSWORD)
    assert "/hub/admin" in person.open("/hub/home").text
    assert person.open("/hub/admin").status == 200
    of_team = hub.person()
    of_team.sign_in(account("/research/administrator"), PASSWORD)
    assert of_team.open("/hub/home").status == 200
    assert of_team.open("/hub/admin").status == 403


def test_who_leaves_the_team_is_out_at_once(hub: HubLab, account: Callable[..., str]) -> None:
    name = account("/research/developer", "/vision/developer")
    person = hub.person()
    person.sign_in(name, PASSWORD)
    assert "research:" in page_text(person.open("/hub/spawn").text)

    leave(hub, name, "/research/developer")
    until(lambda: "research:" not in page_text(person.open("/hub/spawn").text), "the team's profiles are gone")
    assert person.open("/hub/spawn").status == 200
    leave(hub, name, "/vision/developer")
    until(lambda: person.open("/hub/spawn").status == 403, "nothing is left")
    assert "you are in no team" in page_text(person.open("/hub/spawn").text)


def test_signing_out_ends_the_session_everywhere(hub: HubLab, account: Callable[..., str]) -> None:
    name = account("/research/developer")
    person = hub.person()
    person.sign_in(name, PASSWORD)
    id = hub.keycloak.person(name)["id"]
    assert len(hub.keycloak.ask(f"/users/{id}/sessions")) == 1
    after = person.open("/hub/logout")
    assert hub.keycloak.ask(f"/users/{id}/sessions") == []
    assert after.asks_for("password"), f"at the door again, not {page_text(after.text)[:300]}"


def test_a_session_that_ended_elsewhere_ends_here(hub: HubLab, account: Callable[..., str]) -> None:
    name = account("/research/developer")
    person = hub.person()
    person.sign_in(name, PASSWORD)
    hub.keycloak.admin("POST", f"/{REALM}/users/{hub.keycloak.person(name)['id']}/logout")
    until(lambda: person.open("/hub/home").asks_for("password"), "the hub asks to sign in again")


@pytest.fixture
def started(hub: HubLab, account: Callable[..., str]) -> Callable[..., tuple[str, Person]]:
    """Somebody of research with a notebook that computes."""

    def start(profile: str) -> tuple[str, Person]:
        name = account("/research/developer")
        person = hub.person()
        person.sign_in(name, PASSWORD)
        hub.notebook(name).computes = True
        chosen = person.choose(profile)
        assert chosen.status == 200, page_text(chosen.text)
        until(lambda: hub.notebook(name).asked_by, "it runs, and the culler knows")
        assert "Stop My Server" in person.open("/hub/home").text
        return name, person

    return start


def looked_at(notebook: Notebook, rounds: int = 2) -> None:
    """Waits until the culler has been there so often, once more than is needed: the first may be half over."""
    enough = len(notebook.asked_by) + 2 * (rounds + 1)
    until(lambda: len(notebook.asked_by) >= enough, "the culler looks at the notebook")


def idle_time() -> None:
    over = time.monotonic() + IDLE_SECONDS + 1
    until(lambda: time.monotonic() > over, "the idle time is over")


def test_a_notebook_runs_for_its_team_stays_while_it_computes_and_ends_when_idle(
    hub: HubLab, started: Callable[..., tuple[str, Person]]
) -> None:
    name, person = started("research_python")
    notebook = hub.notebook(name)
    (pod,) = hub.pods("team-research")
    assert pod["metadata"]["labels"]["gpulab.dev/profile"] == "python"

    # Reports of the notebook go on when its owner's sign-in is over, and are none of the owner's.
    variables = variables_of(hub.kubernetes, pod)
    hub.keycloak.admin("POST", f"/{REALM}/users/{hub.keycloak.person(name)['id']}/logout")
    until(lambda: person.open("/hub/home").asks_for("password"), "the sign-in is over")
    report = {"last_activity": datetime.datetime.now(datetime.UTC).isoformat()}
    assert posted(hub.here(variables["JUPYTERHUB_ACTIVITY_URL"]), report, variables["JUPYTERHUB_API_TOKEN"]) == 200
    assert person.open("/hub/home").asks_for("password")

    # A kernel computes and prints nothing for longer than the profile's idle time.
    notebook.quiet_for = 10 * IDLE_SECONDS
    idle_time()
    looked_at(notebook)
    assert hub.pods("team-research")
    page = person.sign_in(name, PASSWORD)
    assert "Stop My Server" in page.text, page_text(page.text)
    assert "gpulab-notice" not in page.text

    # It is always about to end, and never ends.
    notebook.quiet_for = 0.8 * IDLE_SECONDS
    # A culler that has seen it quiet for long must not see it idle.
    looked_at(notebook)
    notebook.computes = False
    until(lambda: "gpulab-notice" in person.open("/hub/home").text, "the home page tells")
    notebook.quiet_for = 10 * IDLE_SECONDS
    until(lambda: not hub.pods("team-research"), "it ends")
    until(lambda: "Stop My Server" not in person.open("/hub/home").text, "the hub knows")


def test_a_named_notebook_ends_alone(hub: HubLab, started: Callable[..., tuple[str, Person]]) -> None:
    name, person = started("research_python")
    chosen = person.choose("research_python", f"/hub/spawn/{name}/second")
    assert chosen.status == 200, page_text(chosen.text)
    looked_at(hub.notebook(name, "second"))
    assert len(hub.pods("team-research")) == 2

    hub.notebook(name, "second").quiet_for = 10 * IDLE_SECONDS
    (first,) = until(lambda: len(left := hub.pods("team-research")) == 1 and left, "the second ends")
    assert not first["metadata"]["labels"].get("hub.jupyter.org/servername")
    looked_at(hub.notebook(name))
    assert hub.pods("team-research")
    end(hub, name)


def test_a_lifetime_ends_a_notebook_that_computes_and_is_told_before(
    hub: HubLab, started: Callable[..., tuple[str, Person]]
) -> None:
    _, person = started("research_agents")
    until(lambda: "it has run for as long as" in page_text(person.open("/hub/home").text), "the home page tells")
    assert hub.pods("team-research"), "it was told before it was over"
    until(lambda: not hub.pods("team-research"), "it ends")


def test_a_notebook_that_does_not_answer_for_a_moment_goes_on_and_one_that_never_does_ends(
    hub: HubLab, started: Callable[..., tuple[str, Person]]
) -> None:
    name, _ = started("research_python")
    notebook = hub.notebook(name)
    notebook.quiet_for = 10 * IDLE_SECONDS
    # For all that the hub knows, it is idle.
    idle_time()
    notebook.unanswered = SILENT_ROUNDS - 1
    until(lambda: not notebook.unanswered, "the culler hears nothing")
    looked_at(notebook)
    assert hub.pods("team-research")

    notebook.unanswered = math.inf
    until(lambda: not hub.pods("team-research"), "it ends")


def test_a_notebook_is_asked_by_a_token_that_opens_nothing_else(
    hub: HubLab, started: Callable[..., tuple[str, Person]]
) -> None:
    """Its owner has the server, and so whatever it is asked by."""
    name, _ = started("research_python")
    (pod,) = hub.pods("team-research")
    lets_in = json.loads(variables_of(hub.kubernetes, pod)["JUPYTERHUB_OAUTH_ACCESS_SCOPES"])
    looked_at(hub.notebook(name))
    (token,) = set(hub.notebook(name).asked_by)
    model = asked(f"{hub.url}/hub/api/user", token)
    assert model["name"] == name
    (access,) = [one for one in model["scopes"] if not one.startswith("read:")]
    assert access == f"access:servers!server={name}/"
    assert access in lets_in
    end(hub, name)


def end(hub: HubLab, name: str) -> None:
    """Nothing is done any more in somebody's notebook."""
    notebook = hub.notebook(name)
    notebook.quiet_for, notebook.computes = 10 * IDLE_SECONDS, False
    until(lambda: not hub.pods("team-research"), "it ends")


def test_a_choice_that_nobody_offers_is_refused(hub: HubLab, account: Callable[..., str]) -> None:
    person = hub.person()
    person.sign_in(account("/research/developer"), PASSWORD)
    for profile in ("research_fine-tuning", "vision_python", "research_no-such-profile"):
        refused = person.choose(profile)
        assert refused.status == 403
        assert "no profile that you may start" in page_text(refused.text)
    assert not hub.pods("team-research")


def test_what_the_quota_has_no_room_for_is_said_on_the_page_of_the_form(
    hub: HubLab, account: Callable[..., str]
) -> None:
    quota = place("/api/v1/resourcequotas", "team", "team-research")
    hub.kubernetes.patch(quota, {"spec": {"hard": {"requests.nvidia.com/gpu": "0"}}})
    hard = "requests.nvidia.com/gpu"
    until(lambda: hub.kubernetes.request("GET", quota)["status"]["hard"].get(hard) == "0", "the quota counts")
    person = hub.person()
    person.sign_in(account("/research/data-scientist"), PASSWORD)
    refused = person.choose("research_pytorch")
    assert refused.status == 409
    assert "Team research has no GPUs in its quota" in page_text(refused.text)
    assert refused.asks_for("profile"), "the form is there again"
    assert not hub.pods("team-research")


def variables_of(kubernetes: Kubernetes, pod: Object) -> dict[str, str]:
    """What the notebook's container has in its environment; values of Secrets are read there, as a kubelet does."""
    found = {}
    for one in pod["spec"]["containers"][0]["env"]:
        value = one.get("value", "")
        if key := one.get("valueFrom", {}).get("secretKeyRef"):
            secret = kubernetes.get(place("/api/v1/secrets", key["name"], pod["metadata"]["namespace"]))
            assert secret, f"the Secret of {one['name']}"
            value = base64.b64decode(secret["data"][key["key"]]).decode()
        found[one["name"]] = value
    return found


def posted(url: str, content: Any, token: str) -> int:
    """The status by which the hub's API answers a notebook."""
    headers = {"Authorization": f"token {token}"}
    request = urllib.request.Request(url, json.dumps(content).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status


def asked(url: str, token: str) -> Any:
    """What the hub's API answers to whoever has the token."""
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
