"""People's homes: their size, what a full home blocks, and disks that grow with the stack file."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import AsyncMock, patch

import jinja2
import pytest
from hub_catalogue import choice, document
from hub_spawner import spawner_of
from jupyterhub._data import DATA_FILES_PATH
from kubernetes_asyncio import client
from kubernetes_asyncio.client.rest import ApiException

from components.hub.inside import homes, measuring
from components.hub.inside.catalogue import Catalogue, parse
from components.hub.inside.choices import choices
from components.hub.inside.form import profile_list
from components.hub.inside.looking_ahead import refuse_what_cannot_start
from components.hub.inside.spawner import NotebookSpawner, Refused

DISKS = {"perPerson": True, "size": 40, "storageClass": "gp3", "note": None, "warn": None, "limit": None}
LIMITED = {"perPerson": False, "size": None, "storageClass": None, "note": None, "warn": 80, "limit": 100}
GIB = 1024**3
NIGHT = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=5)


def claims(size: str) -> AsyncMock:
    """An API server that has Ada's home, of that size."""
    content = {"spec": {"resources": {"requests": {"storage": size}}}}
    api = AsyncMock()
    api.create_namespaced_persistent_volume_claim.side_effect = ApiException(status=409)
    api.read_namespaced_persistent_volume_claim.return_value.read.return_value = json.dumps(content).encode()
    return api


def start(api: AsyncMock, folder: Path) -> None:
    """As far as KubeSpawner sees to the home."""
    spawner = spawner_of({**document(), "homes": DISKS}, folder, api)
    spawner.namespace = "team-research"
    assert asyncio.run(spawner._make_create_pvc_request(spawner.get_pvc_manifest(), 1))


def test_a_home_of_before_grows_to_the_size_that_homes_have_now(tmp_path: Path) -> None:
    api = claims("20Gi")
    start(api, tmp_path)
    name, namespace, change = api.patch_namespaced_persistent_volume_claim.call_args.args
    assert (name, namespace) == ("home-ada", "team-research")
    assert change == {"spec": {"resources": {"requests": {"storage": "40Gi"}}}}


@pytest.mark.parametrize("size", ["40Gi", "60Gi", "1Ti"])
def test_no_home_shrinks_or_is_asked_for_what_it_has(size: str, tmp_path: Path) -> None:
    api = claims(size)
    start(api, tmp_path)
    api.patch_namespaced_persistent_volume_claim.assert_not_called()


def test_a_home_that_cannot_grow_starts_as_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    api = claims("20Gi")
    refusal = ApiException(status=403)
    refusal.body = json.dumps({"message": "exceeded quota: team, requested: requests.storage=20Gi"}).encode()
    api.patch_namespaced_persistent_volume_claim.side_effect = refusal
    with caplog.at_level(logging.WARNING):
        start(api, tmp_path)
    assert "home-ada does not grow to 40Gi: exceeded quota" in caplog.text


# What homes on the file system hold.


def limited(**changed: Any) -> Catalogue:
    return parse({**document(), "homes": {**LIMITED, **changed}})


def home(gib: float) -> homes.HomeSize:
    return homes.HomeSize(team="research", size=int(gib * GIB), measured=NIGHT)


def measured(folder: Path, at: datetime = NIGHT, **gib: float) -> None:
    """Writes the sizes of homes in the team research where the hub reads them."""
    found = {person: measuring.Counted(int(size * GIB), whole=True) for person, size in gib.items()}
    (folder / "research.json").write_text(measuring.document(found, at), encoding="utf-8")


def test_what_a_home_holds_is_measured_and_read_by_the_persons_slug(tmp_path: Path) -> None:
    measured(tmp_path, ada=12.34)
    assert homes.home_size("research", "ada", tmp_path) == homes.HomeSize(
        team="research", size=int(12.34 * GIB), measured=NIGHT
    )
    assert homes.home_size("research", "grace", tmp_path) is None, "her home is newer"
    assert homes.home_size("vision", "ada", tmp_path) is None, "nothing was measured yet"
    measured(tmp_path, NIGHT - timedelta(days=40), ada=12.34)
    assert homes.home_size("research", "ada", tmp_path) is None, "who knows what it holds now"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"measured": "then", "bytes": {"ada": 1}}', '{"bytes": {"ada": "x"}}']
)
def test_a_measurement_that_makes_no_sense_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "research.json").write_text(text, encoding="utf-8")
    assert homes.home_size("research", "ada", tmp_path) is None


@pytest.mark.parametrize(
    ("gib", "level", "words"),
    [
        (12.34, "info", f"in team research holds 12.3 GiB (measured {NIGHT:%Y-%m-%d %H:%M} UTC)."),
        (80, "warning", "above 100 GiB only your smallest profile starts"),
        (100, "warning", "Delete what you no longer need"),
        (100.1, "danger", "the limit is 100 GiB. Until less is measured, only your smallest profile starts"),
    ],
    # The first words hold the time, and workers must collect the same names.
    ids=["little", "much", "all", "too much"],
)
def test_everybody_is_told_and_whoever_holds_much_is_warned(gib: float, level: str, words: str) -> None:
    said = homes.notice(home(gib), limited().homes)
    assert said.level == level
    assert words in said.text


def test_without_a_limit_nothing_is_refused_and_nothing_said_of_one() -> None:
    catalogue = limited(limit=None)
    said = homes.notice(home(500), catalogue.homes)
    assert (said.level, "only" in said.text) == ("warning", False)
    wanted = choice("research_pytorch", catalogue=catalogue)
    assert homes.refusal(home(500), catalogue.homes, wanted, [wanted]) is None


def test_above_the_limit_nothing_starts_but_the_smallest_profile_of_the_team() -> None:
    catalogue = limited()
    offered = choices(catalogue, ["/research/data-scientist", "/vision/data-scientist"])

    def refused(gib: float) -> set[str]:
        return {
            one.profile.name
            for one in offered
            if one.team.name == "research" and homes.refusal(home(gib), catalogue.homes, one, offered)
        }

    names = {one.profile.name for one in offered if one.team.name == "research"}
    assert refused(100) == set()
    (starts,) = names - refused(101)
    assert catalogue.profiles[starts].gpu is None
    wanted = choice("research_pytorch", catalogue=catalogue)
    said = homes.refusal(home(101), catalogue.homes, wanted, offered)
    assert f"only {catalogue.profiles[starts].display_name} starts" in (said or "")
    assert "~/.local/share/Trash" in (said or "")
    assert "after the next measurement" in (said or ""), "whichever schedule it has"


def ada(tmp_path: Path, **gib: int) -> NotebookSpawner:
    """Ada's spawner, at a hub that measured this size."""
    api = AsyncMock()
    nothing = SimpleNamespace(read=AsyncMock(return_value=b'{"items": []}'))
    api.list_namespaced_pod.return_value = api.list_namespaced_resource_quota.return_value = nothing
    made = spawner_of({**document(), "homes": LIMITED}, tmp_path, api, "/research/data-scientist")
    measured(tmp_path, NIGHT, **gib)
    return made


@pytest.mark.parametrize(("gib", "starts"), [(99, True), (101, False)])
def test_a_start_is_refused_above_the_limit(gib: int, starts: bool, tmp_path: Path) -> None:
    spawner = ada(tmp_path, ada=gib, grace=500)
    with patch("components.hub.inside.homes.home_size", partial(homes.home_size, folder=tmp_path)):
        work = refuse_what_cannot_start(spawner, spawner.choice({"profile": "research_pytorch"}))
        if starts:
            asyncio.run(work)
            return
        with pytest.raises(Refused, match=r"holds 101\.0 GiB .* the limit is 100 GiB"):
            asyncio.run(work)


def test_the_pages_of_the_hub_tell_of_the_homes_of_ones_teams(tmp_path: Path) -> None:
    spawner = ada(tmp_path, ada=90)
    user = SimpleNamespace(groups=[SimpleNamespace(name="/research/data-scientist")], spawner=spawner)
    of_user = homes.notices_for(limited(), tmp_path)
    assert [one.level for one in of_user(user)] == ["warning"]
    assert of_user(None) == []
    assert of_user(SimpleNamespace(groups=[], spawner=spawner)) == []


def test_jupyterlab_is_told_of_a_home_that_holds_too_much_alone(tmp_path: Path) -> None:
    def limits(gib: float) -> dict[str, Any]:
        with patch("components.hub.inside.homes.home_size", lambda *_: home(gib)):
            made = asyncio.run(profile_list(ada(tmp_path)))[0]["kubespawner_override"]["extra_annotations"]
        return json.loads(made["files.gpulab.dev/limits"].replace("{{", "{").replace("}}", "}"))

    assert limits(1)["home"] is None
    assert "holds 90.0 GiB" in limits(90)["home"]
    longest = homes.warning(home(1_000_000), limited(limit=100_000).homes)
    assert longest is not None
    assert "no larger profile starts" in longest
    assert len(longest) <= 140, "JupyterLab cuts what is longer"


# The job.


def test_each_home_is_counted_with_what_is_below_it_and_links_lead_nowhere(tmp_path: Path) -> None:
    for name, size in (("ada", 300_000), ("grace", 1)):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_bytes(b"x" * size)
    (tmp_path / "elsewhere").symlink_to(tmp_path / "ada")
    (tmp_path / "stray").write_bytes(b"x")
    found = measuring.sizes(str(tmp_path))
    assert found.keys() == {"ada", "grace"}
    assert found["ada"].size >= 300_000 > found["grace"].size
    assert found["ada"].whole


def test_a_home_that_cannot_be_read_whole_is_counted_as_far_as_it_can_and_its_owner_reads_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ada").mkdir()
    ended = subprocess.CompletedProcess([], 1, stdout="4096\tada\n", stderr="du: cannot read directory 'ada/x'")
    with patch("components.hub.inside.measuring.subprocess.run", lambda *_, **__: ended):
        found = measuring.sizes(str(tmp_path))
    assert found == {"ada": (4096, False)}
    assert "ada: not all is counted" in capsys.readouterr().out
    (tmp_path / "research.json").write_text(measuring.document(found, NIGHT), encoding="utf-8")
    held = homes.home_size("research", "ada", tmp_path)
    assert held is not None
    assert "holds at least 0.0 GiB" in homes.notice(held, limited().homes).text


class ConfigMaps(BaseHTTPRequestHandler):
    """The part of the API server that the job uses."""

    asked: ClassVar[list[tuple[str, str, Any]]] = []

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Content-Type"], body))
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        return


def test_the_job_applies_a_config_map_that_the_hub_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ada").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), ConfigMaps) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        configured = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(client.Configuration, "_default", configured)
        monkeypatch.setattr(measuring.config, "load_incluster_config", lambda: None)
        measuring.main("research", str(tmp_path), "hub", "home-sizes-research")
        server.shutdown()
    ((path, content_type, body),) = ConfigMaps.asked
    assert path.startswith("/api/v1/namespaces/hub/configmaps/home-sizes-research?")
    assert {"force=True", f"fieldManager={measuring.FIELD_MANAGER}"} <= set(path.partition("?")[2].split("&"))
    assert content_type == "application/apply-patch+yaml"
    assert body["metadata"]["name"] == "home-sizes-research"
    for name, text in body["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert homes.home_size("research", "ada", tmp_path) is not None


@pytest.mark.parametrize("page", ["home.html", "spawn.html"])
def test_a_page_of_the_hub_shows_its_notices_above_its_own(page: str) -> None:
    hubs = Path(DATA_FILES_PATH) / "templates"
    folders = {"templates": jinja2.FileSystemLoader(hubs)}
    loader = jinja2.ChoiceLoader(
        [jinja2.PrefixLoader(folders), jinja2.FileSystemLoader(Path(homes.__file__).parent)]  # as JupyterHub has them
    )
    found = jinja2.Environment(loader=loader, autoescape=True)
    assert "main" in found.get_template(f"templates/{page}").blocks
    own = found.get_template(page)
    assert "main" in own.blocks
    said = [homes.notice(home(90), limited().homes)]
    text = found.get_template("notices.html").render(gpulab_notices=["<b>ends"], gpulab_homes=said)
    assert "&lt;b&gt;ends" in text
    assert 'alert-warning gpulab-home" role="status">Your home in team research holds 90.0 GiB' in text
