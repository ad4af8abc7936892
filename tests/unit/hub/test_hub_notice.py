"""The notice in JupyterLab, run as it is by Node.js: what it shows when, and which requests it lets count as work."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components.hub.inside import pod_files

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs node on PATH, 18 or newer")

# A page of JupyterLab as far as the extension touches it. Time is what the test says.
PAGE = """
const given = JSON.parse(process.argv[2]);
let banner = null;
const listeners = {};
const sent = [];
let time = Date.parse(given.now);
Date.now = () => time;
globalThis.setInterval = () => 0;
globalThis.window = { addEventListener: (name, action) => (listeners[name] = action) };
globalThis.document = {
  getElementById: (id) => id === "jupyter-config-data"
    ? { textContent: JSON.stringify({ fullLabextensionsUrl: "http://lab/labextensions" }) } : banner,
  createElement: () => ({ style: {}, setAttribute() {}, remove() { banner = null; } }),
  body: { append: (made) => (banner = made) },
};
const files = { "limits.json": given.limits, "scratch.json": given.scratch, "buckets.json": given.buckets };
const read = [];
globalThis.fetch = async (url, { cache }) => {
  read.push(url.split("/").pop());
  const content = cache === "no-store" && files[url.split("/").pop()];
  return { ok: Boolean(content), json: async () => content };
};
const answers = { status: given.status, kernels: given.kernels };
const makeRequest = async (url) => ({
  json: async () => answers[new URL(url).pathname.split("/").pop()],
  headers: new Headers({ Date: new Date(time).toUTCString() }),
});
require(given.file);
(async () => {
  const container = globalThis._JUPYTERLAB["gpulab-notice"];
  const services = { get: async () => () => ({ ServerConnection: { makeRequest } }) };
  const told = [];
  const apputils = { get: async () => () => ({ Notification: { emit: (text, level) => told.push([level, text]) } }) };
  await container.init({ "@jupyterlab/services": { "7.0": services }, "@jupyterlab/apputils": { "4.0": apputils } });
  const plugin = (await container.get("./extension"))();
  const settings = { baseUrl: "http://lab/", fetch: async (request) => sent.push(`${request.method} ${request.url}`) };
  await plugin.activate({ serviceManager: { serverSettings: settings } });
  const asked = async () => {
    await settings.fetch(new Request("http://lab/api/sessions?1"));
    await settings.fetch(new Request("http://lab/lab/api/workspaces/default", { method: "PUT", body: "{}" }));
    await settings.fetch(new Request("http://lab/api/contents/a.ipynb", { method: "PUT", body: "{}" }));
  };
  await asked();
  time += 61000;
  await asked();
  listeners.keydown();
  await asked();
  console.log(JSON.stringify({ shown: banner && banner.textContent, told, sent, read, autoStart: plugin.autoStart }));
})();
"""

LIMITS = {
    "started": "2026-09-01T10:00:00+00:00",
    "idleSeconds": 3600,
    "lifetimeSeconds": 604800,
    "warnMinutes": 10,
}


def page(
    tmp_path: Path,
    *,
    now: str,
    active: str,
    kernel: str = "idle",
    scratch: Any = None,
    tried: Any = None,
    **limits: Any,
) -> dict[str, Any]:
    """What the page shows and sends; `tried` is the notebook's result for its buckets."""
    script = tmp_path / "page.js"
    script.write_text(PAGE, encoding="utf-8")
    given = {
        "file": str(Path(pod_files.__file__).with_name("notebook_notice.js")),
        "now": now,
        "status": {"last_activity": active},
        "kernels": [{"execution_state": kernel}],
        "buckets": tried,
        "limits": {**LIMITS, "scratch": scratch is not None, **limits},
        "scratch": scratch,
    }
    done = subprocess.run(
        [str(NODE), str(script), json.dumps(given)], capture_output=True, text=True, check=False, env={"TZ": "UTC"}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_idle_notebook_is_announced_ten_minutes_before(tmp_path: Path) -> None:
    active = "2026-09-01T11:00:00Z"
    assert page(tmp_path, now="2026-09-01T11:49:00Z", active=active)["shown"] is None
    shown = page(tmp_path, now="2026-09-01T11:51:00Z", active=active)["shown"]
    assert "in 9 minutes: nobody has used it since" in shown


def test_a_kernel_that_computes_keeps_it(tmp_path: Path) -> None:
    assert page(tmp_path, now="2026-09-01T11:59:00Z", active="2026-09-01T10:00:00Z", kernel="busy")["shown"] is None


def test_the_end_of_its_lifetime_is_announced_however_busy_it_is(tmp_path: Path) -> None:
    now = "2026-09-08T09:55:00Z"
    shown = page(tmp_path, now=now, active=now, kernel="busy")["shown"]
    assert "in 5 minutes: it has run as long as its profile allows" in shown


def test_of_a_short_idle_time_half_passes_in_silence(tmp_path: Path) -> None:
    active = "2026-09-01T11:00:00Z"
    assert page(tmp_path, now="2026-09-01T11:02:00Z", active=active, idleSeconds=300)["shown"] is None
    assert page(tmp_path, now="2026-09-01T11:03:00Z", active=active, idleSeconds=300)["shown"]


def test_the_end_of_its_machine_is_announced_as_others_are(tmp_path: Path) -> None:
    active = "2026-09-01T11:00:00Z"
    ends = {"machineEnds": "2026-09-01T11:20:00+00:00"}
    assert page(tmp_path, now="2026-09-01T11:05:00Z", active=active, **ends)["shown"] is None
    shown = page(tmp_path, now="2026-09-01T11:15:00Z", active=active, **ends)["shown"]
    assert "in 5 minutes: its machine is replaced then" in shown
    assert page(tmp_path, now="2026-09-01T11:15:00Z", active=active, machineEnds=None)["shown"] is None


def test_a_scratch_that_is_nearly_full_is_announced_beside_the_end(tmp_path: Path) -> None:
    gib, now = 2**30, "2026-09-01T11:00:00Z"
    assert page(tmp_path, now=now, active=now, scratch={"used": 39 * gib, "size": 50 * gib})["shown"] is None
    full = {"used": 41 * gib, "size": 50 * gib}
    shown = page(tmp_path, now=now, active=now, scratch=full)["shown"]
    assert shown == (
        "Scratch is 82 % full (41.0 of 50 GiB): when it is full, this notebook is ended. "
        "Delete what you no longer need in ~/scratch."
    )
    assert "scratch.json" not in page(tmp_path, now=now, active=now)["read"], "a notebook without any"
    both = page(tmp_path, now="2026-09-01T11:55:00Z", active=now, scratch=full)["shown"]
    assert [line.partition(":")[0][:12] for line in both.splitlines()] == ["This noteboo", "Scratch is 8"]


def test_a_home_that_holds_too_much_is_told_of_once(tmp_path: Path) -> None:
    now = "2026-09-01T11:00:00Z"
    told = page(tmp_path, now=now, active=now, home="Your home holds 90 GiB.")["told"]
    assert told == [["warning", "Your home holds 90 GiB."]]
    assert page(tmp_path, now=now, active=now, home=None)["told"] == []


def test_what_was_found_of_buckets_is_told_where_the_team_has_some(tmp_path: Path) -> None:
    now, tried = "2026-09-01T11:00:00Z", {"level": "info", "text": "S3 answers."}
    assert page(tmp_path, now=now, active=now, buckets=True, tried=tried)["told"] == [["info", "S3 answers."]]
    assert page(tmp_path, now=now, active=now, buckets=True)["told"] == [], "it is not known yet"
    assert page(tmp_path, now=now, active=now, buckets=False, tried=tried)["told"] == []


def test_what_jupyterlab_does_by_itself_is_no_work(tmp_path: Path) -> None:
    found = page(tmp_path, now="2026-09-01T11:00:00Z", active="2026-09-01T11:00:00Z")
    assert found["autoStart"]
    quiet = "no_track_activity=1"
    at_first, alone, with_somebody = (found["sent"][number : number + 3] for number in (0, 3, 6))
    assert not any(quiet in one for one in at_first)
    assert [quiet in one for one in alone] == [True, True, False], "what is saved is somebody's"
    assert not any(quiet in one for one in with_somebody)
