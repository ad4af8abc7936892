"""Starting notebooks in the hub of the lab `dev`: how they run and end, and what is refused."""

from __future__ import annotations

import datetime
import json
import math
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
from browser import page_text
from hub_lab import IDLE_SECONDS, PASSWORD, HubLab, Person, asked, posted, until, variables_of
from notebook_server import Notebook

from components.hub.inside.culling import SILENT_ROUNDS
from components.identity.realm.realm import REALM
from rehearsal.controllers.world import NODES, place

pytestmark = pytest.mark.seconds(250)


@pytest.fixture
def started(hub: HubLab, account: Callable[..., str]) -> Callable[..., tuple[str, Person]]:
    """A person of the team research, with a notebook that computes."""

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
    """Waits for so many rounds of the culler, plus one, because the current round may be half over."""
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


def test_a_named_notebook_starts_clean_beside_the_first_and_ends_alone(
    hub: HubLab, started: Callable[..., tuple[str, Person]]
) -> None:
    name, person = started("research_python")
    chosen = person.choose("research_python", f"/hub/spawn/{name}/second", environment="clean")
    assert chosen.status == 200, page_text(chosen.text)
    looked_at(hub.notebook(name, "second"))
    clean = {
        one["metadata"]["labels"].get("hub.jupyter.org/servername", ""): variables_of(hub.kubernetes, one)
        for one in hub.pods("team-research")
    }
    assert {server: bool(variables["GPULAB_CLEAN"]) for server, variables in clean.items()} == {
        "": False,
        "second": True,
    }

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
    until(lambda: "it has run as long as" in page_text(person.open("/hub/home").text), "the home page tells")
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


def test_a_notebook_opens_for_its_owner_alone_and_is_asked_by_a_token_that_opens_nothing_else(
    hub: HubLab, started: Callable[..., tuple[str, Person]], account: Callable[..., str]
) -> None:
    """The owner controls the server, and so also sees the tokens of its requests."""
    name, _ = started("research_python")
    (pod,) = hub.pods("team-research")
    variables = variables_of(hub.kubernetes, pod)
    lets_in = json.loads(variables["JUPYTERHUB_OAUTH_ACCESS_SCOPES"])
    client = {"client_id": variables["JUPYTERHUB_CLIENT_ID"], "response_type": "code"}
    entrance = urlencode({**client, "redirect_uri": variables["JUPYTERHUB_OAUTH_CALLBACK_URL"]})
    administrator = hub.person()
    administrator.sign_in(account(roles=("administrator",)), PASSWORD)
    assert administrator.open(f"/hub/api/oauth2/authorize?{entrance}").status == 403

    looked_at(hub.notebook(name))
    (token,) = set(hub.notebook(name).asked_by)
    model = asked(f"{hub.url}/hub/api/user", token)
    assert model["name"] == name
    (access,) = [one for one in model["scopes"] if not one.startswith("read:")]
    assert access == f"access:servers!server={name}/"
    assert access in lets_in
    end(hub, name)


def end(hub: HubLab, name: str) -> None:
    """A person's notebook becomes idle."""
    notebook = hub.notebook(name)
    notebook.quiet_for, notebook.computes = 10 * IDLE_SECONDS, False
    until(lambda: not hub.pods("team-research"), "it ends")


def test_a_choice_that_nobody_offers_is_refused(hub: HubLab, account: Callable[..., str]) -> None:
    person = hub.person()
    person.sign_in(account("/research/developer"), PASSWORD)
    for profile, reason in (
        ("research_fine-tuning", "start profile fine-tuning: it is for roles"),
        ("vision_python", "start profile python: it is for roles"),
        ("research_no-such-profile", "There is no profile research_no-such-profile"),
    ):
        refused = person.choose(profile)
        assert refused.status == 403
        assert reason in page_text(refused.text)
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


@pytest.fixture
def closed_node(hub: HubLab) -> Iterator[None]:
    """No notebook gets a machine."""
    node = place(NODES, "node")
    hub.kubernetes.patch(node, {"spec": {"unschedulable": True}})
    yield
    hub.kubernetes.patch(node, {"spec": {"unschedulable": False}})


@pytest.mark.usefixtures("closed_node")
def test_a_pod_that_is_deleted_before_it_runs_ends_the_start_at_once(hub: HubLab, account: Callable[..., str]) -> None:
    """Long before `hub.startTimeout`."""
    name, person = account("/research/developer"), hub.person()
    person.sign_in(name, PASSWORD)
    person.choose("research_python")
    (pod,) = until(lambda: hub.pods("team-research"), "its pod is there")
    hub.kubernetes.delete(place("/api/v1/pods", pod["metadata"]["name"], "team-research"))
    page = f"/hub/spawn-pending/{name}"
    until(lambda: "was deleted before it ran" in page_text(person.open(page).text), "it is told")


@pytest.mark.usefixtures("closed_node")
def test_an_image_that_no_registry_has_ends_the_start_at_once(hub: HubLab, account: Callable[..., str]) -> None:
    """It ends long before `hub.startTimeout`, and its resources are free."""
    name, person = account("/research/developer"), hub.person()
    person.sign_in(name, PASSWORD)
    person.choose("research_python")
    (pod,) = until(lambda: hub.pods("team-research"), "its pod is there")
    # What kubelet says; here none runs that would know a registry.
    image = pod["spec"]["containers"][0]["image"]
    message = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'
    waiting = {"reason": "ErrImagePull", "message": message}
    state = {"name": "notebook", "image": image, "imageID": "", "ready": False, "restartCount": 0}
    status = f"{place('/api/v1/pods', pod['metadata']['name'], 'team-research')}/status"
    hub.kubernetes.patch(status, {"status": {"containerStatuses": [{**state, "state": {"waiting": waiting}}]}})
    page = f"/hub/spawn-pending/{name}"
    until(lambda: "its registry has no such image" in page_text(person.open(page).text), "it is told")
    until(lambda: not hub.pods("team-research"), "its pod is gone")
