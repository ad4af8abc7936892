// Shows in JupyterLab that the notebook's server ends soon, that scratch is nearly full, and problems with home and
// buckets. It also keeps an open page that nobody uses from counting as work.
//
// A prebuilt extension, as JupyterLab loads them (a container of module federation, "Extension Developer Guide"),
// written by hand, so there is no build. `limits.json` beside this file says how long notebooks may run; `scratch.py`
// writes how full scratch is.
(() => {
  const NAME = "gpulab-notice";
  const LOOK_SECONDS = 30;
  // For so long after the last key or click, requests count as somebody's work.
  const HUMAN_SECONDS = 60;
  const SCRATCH_WARN = 0.8;
  let shared = {};
  let human = Date.now();

  const connection = async () => {
    const [version] = Object.values(shared["@jupyterlab/services"]);
    return (await version.get())().ServerConnection;
  };

  // JupyterLab asks for kernels and sessions and saves its layout every few seconds, even when nobody is there. Jupyter
  // Server does not count requests with `no_track_activity` as activity.
  const untracked = async (request) => {
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

  const leaveIdleRequestsOut = (settings) => {
    const fetch = settings.fetch;
    settings.fetch = async (request, ...rest) =>
      fetch(request instanceof Request ? await untracked(request) : request, ...rest);
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
    const why = { lifetime: "it has run as long as its profile allows", machine: "its machine is replaced then" };
    return end.why in why
      ? `${when}: ${why[end.why]}. Save your work, then start it again.`
      : `${when}: nobody has used it since ${clock(end.since)}. Use it to keep it. Files in your home stay.`;
  };

  const scratchText = ({ used, size }) => {
    const gib = (bytes) => (bytes / 2 ** 30).toFixed(bytes < size ? 1 : 0);
    const full = `Scratch is ${Math.floor((used / size) * 100)} % full (${gib(used)} of ${gib(size)} GiB)`;
    return `${full}: when it is full, this notebook is ended. Delete what you no longer need in ~/scratch.`;
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
        "background: var(--jp-warn-color1, #b26a00); color: #fff; font: 13px sans-serif; border-radius: 0 0 4px 4px;" +
        "white-space: pre-line;";
      document.body.append(banner);
    }
    banner.textContent = message;
  };

  // JupyterLab cuts the text after 140 characters and keeps it in its list; a warning stays until somebody closes it.
  const notify = async ({ level, text }) => {
    const [version] = Object.values(shared["@jupyterlab/apputils"]);
    (await version.get())().Notification.emit(text, level, { autoClose: level === "warning" ? false : 10000 });
  };

  let bucketsShown = false;
  // The notebook tries its buckets when it starts; the result comes some time later.
  const showBuckets = async (read) => {
    const answer = bucketsShown ? null : await read("live/buckets.json");
    if (answer) {
      bucketsShown = true;
      await notify(answer);
    }
  };

  const look = async (settings, read) => {
    const limits = await read("static/limits.json");
    const scratch = limits.scratch ? await read("live/scratch.json") : null;
    const { makeRequest } = await connection();
    const get = async (path) => {
      const answer = await makeRequest(`${settings.baseUrl}api/${path}?no_track_activity=1`, {}, settings);
      return { json: await answer.json(), now: Date.parse(answer.headers.get("Date")) || Date.now() };
    };
    const [status, kernels] = [await get("status"), await get("kernels")];
    const end = endOf(limits, status.json, kernels.json, status.now);
    // Half of a short idle time has to pass first, so that people who work see no warning.
    const half = end.why === "idle" ? (end.at - end.since) / 2 : Infinity;
    const near = end.at - status.now <= Math.min(limits.warnMinutes * 60000, half);
    const full = scratch && scratch.used >= SCRATCH_WARN * scratch.size;
    const machine = { at: Date.parse(limits.machineEnds), why: "machine" };
    const replaced = machine.at - status.now <= limits.warnMinutes * 60000;
    const messages = [
      near && text(end, status.now),
      replaced && text(machine, status.now),
      full && scratchText(scratch),
    ];
    show(messages.filter(Boolean).join("\n"));
  };

  const activate = async (app) => {
    for (const event of ["keydown", "pointerdown", "wheel"]) {
      window.addEventListener(event, () => (human = Date.now()), { capture: true, passive: true });
    }
    const settings = app.serviceManager.serverSettings;
    leaveIdleRequestsOut(settings);
    const page = JSON.parse(document.getElementById("jupyter-config-data").textContent);
    // The files change while the page is open.
    const read = async (file) => {
      const answer = await fetch(`${page.fullLabextensionsUrl}/${NAME}/${file}`, { cache: "no-store" });
      return answer.ok ? answer.json() : null;
    };
    const warn = (error) => console.warn(`${NAME}: ${error}`);
    const again = () => look(settings, read).catch(warn);
    const limits = await read("static/limits.json");
    if (limits.home) {
      // Shown once: it comes from the last measurement before the notebook started.
      await notify({ level: "warning", text: limits.home }).catch(warn);
    }
    if (limits.buckets) {
      const buckets = () => showBuckets(read).catch(warn);
      await buckets();
      setInterval(buckets, LOOK_SECONDS * 1000);
    }
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
