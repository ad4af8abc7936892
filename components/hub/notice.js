// Tells in JupyterLab that the notebook's server ends soon, and keeps a page that nobody looks at from seeming work.
//
// A prebuilt extension as JupyterLab loads them (a container of module federation, "Extension Developer Guide"),
// written by hand: there is nothing to build. How long notebooks may run, `limits.json` beside this file says.
(() => {
  const NAME = "gpulab-notice";
  const LOOK_SECONDS = 30;
  // A request counts as somebody's work so long after the last key or click.
  const HUMAN_SECONDS = 60;
  let shared = {};
  let human = Date.now();

  const connection = async () => {
    const [version] = Object.values(shared["@jupyterlab/services"]);
    return (await version.get())().ServerConnection;
  };

  // JupyterLab asks for kernels and sessions and saves its layout every few seconds, whoever is there. Jupyter Server
  // leaves requests with `no_track_activity` out when it says when anything was last done.
  const quiet = async (request) => {
    const url = new URL(request.url);
    const layout = url.pathname.includes("/lab/api/workspaces");
    if (Date.now() - human < HUMAN_SECONDS * 1000 || (request.method !== "GET" && !layout)) {
      return request;
    }
    url.searchParams.set("no_track_activity", "1");
    const { method, headers, credentials, mode, cache } = request;
    const body = method === "GET" ? undefined : await request.text();
    return new Request(url, { method, headers, credentials, mode, cache, body });
  };

  const hush = (settings) => {
    const fetch = settings.fetch;
    settings.fetch = async (request, ...rest) =>
      fetch(request instanceof Request ? await quiet(request) : request, ...rest);
  };

  const endOf = (limits, status, kernels, now) => {
    const busy = kernels.some((kernel) => kernel.execution_state === "busy");
    const active = Math.max(busy ? now : Date.parse(status.last_activity), Date.parse(limits.started));
    const idle = active + limits.idleSeconds * 1000;
    const lifetime = Date.parse(limits.started) + limits.lifetimeSeconds * 1000;
    return idle < lifetime ? { at: idle, why: "idle", since: active } : { at: lifetime, why: "lifetime" };
  };

  const text = (end, now) => {
    const clock = (time) => new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const minutes = Math.max(Math.round((end.at - now) / 60000), 0);
    const when = `This notebook ends at ${clock(end.at)}, in ${minutes} ${minutes === 1 ? "minute" : "minutes"}`;
    return end.why === "lifetime"
      ? `${when}: it has run for as long as its profile allows. Save your work; start it again then.`
      : `${when}: nothing was done in it since ${clock(end.since)}. Work in it to keep it. Files in your home stay.`;
  };

  const show = (message) => {
    let banner = document.getElementById(NAME);
    if (!message) {
      banner?.remove();
      return;
    }
    if (!banner) {
      banner = document.createElement("div");
      banner.id = NAME;
      banner.setAttribute("role", "alert");
      banner.style.cssText =
        "position: fixed; top: 0; left: 50%; transform: translateX(-50%); z-index: 10000; padding: 6px 16px;" +
        "background: var(--jp-warn-color1, #b26a00); color: #fff; font: 13px sans-serif; border-radius: 0 0 4px 4px;";
      document.body.append(banner);
    }
    banner.textContent = message;
  };

  const look = async (settings, limits) => {
    const { makeRequest } = await connection();
    const asked = async (path) => {
      const answer = await makeRequest(`${settings.baseUrl}api/${path}?no_track_activity=1`, {}, settings);
      return { json: await answer.json(), now: Date.parse(answer.headers.get("Date")) || Date.now() };
    };
    const [status, kernels] = [await asked("status"), await asked("kernels")];
    const end = endOf(limits, status.json, kernels.json, status.now);
    // Of a short idle time half has to pass: who works is told nothing.
    const half = end.why === "idle" ? (end.at - end.since) / 2 : Infinity;
    const near = end.at - status.now <= Math.min(limits.warnMinutes * 60000, half);
    show(near ? text(end, status.now) : null);
  };

  const activate = async (app) => {
    for (const event of ["keydown", "pointerdown", "wheel"]) {
      window.addEventListener(event, () => (human = Date.now()), { capture: true, passive: true });
    }
    const settings = app.serviceManager.serverSettings;
    hush(settings);
    const page = JSON.parse(document.getElementById("jupyter-config-data").textContent);
    const limits = await (await fetch(`${page.fullLabextensionsUrl}/${NAME}/static/limits.json`)).json();
    const again = () => look(settings, limits).catch((error) => console.warn(`${NAME}: ${error}`));
    await again();
    setInterval(again, LOOK_SECONDS * 1000);
  };

  const plugin = { id: `${NAME}:plugin`, autoStart: true, activate };
  globalThis._JUPYTERLAB = globalThis._JUPYTERLAB ?? {};
  globalThis._JUPYTERLAB[NAME] = {
    init: (scope) => { shared = scope; },
    get: async () => () => plugin,
  };
})();
