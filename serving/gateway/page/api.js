// Requests to the gateway, with the key that it may ask for.

/** What the gateway answered instead: a problem document (RFC 9457). */
export class Problem extends Error {
  constructor(status, { title = `The gateway answered ${status}`, detail = "" }) {
    super(detail ? `${title}: ${detail}` : title);
    this.status = status;
  }
}

/** Whether the same request may go well later: the network, or a gateway that is restarting. */
export function isPassing(error) {
  if (error instanceof Problem) return error.status === 429 || error.status >= 500;
  return error instanceof TypeError; // fetch and streams raise it for the network's faults
}

let askForKey; // () => Promise that ends when one has been entered
let asked = null; // one question for all requests that wait for a key

export function onKeyNeeded(ask) {
  askForKey = ask;
}

export const tools = async () => (await json("/v1/tools")).tools;

export const run = (id) => json(`/v1/runs/${encodeURIComponent(id)}`);

export const runs = (before) =>
  json(`/v1/runs?limit=20${before ? `&before=${encodeURIComponent(before)}` : ""}`);

export const stop = (id) => send(`/v1/runs/${encodeURIComponent(id)}`, { method: "DELETE" });

/** Starts a run; a response with its events. It goes on if this reader goes: it has a link. */
export const start = (body, signal) =>
  send("/v1/runs", {
    method: "POST",
    headers: { Accept: "text/event-stream", "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, on_disconnect: "continue" }),
    signal,
  });

export const events = (id, lastId, signal) =>
  send(`/v1/runs/${encodeURIComponent(id)}/events`, {
    headers: {
      Accept: "text/event-stream",
      ...(lastId === null ? {} : { "Last-Event-ID": lastId }),
    },
    signal,
  });

const json = async (path) => (await send(path)).json();

async function send(path, { headers, ...options } = {}) {
  for (;;) {
    const key = sessionStorage.getItem("key");
    const authorization = key === null ? {} : { Authorization: `Bearer ${key}` };
    const response = await fetch(path, { ...options, headers: { ...headers, ...authorization } });
    if (response.ok) return response;
    if (response.status !== 401) throw new Problem(response.status, await problemOf(response));
    // Another request may have got a new key meanwhile; then that one is tried first.
    if (key === sessionStorage.getItem("key")) await newKey(key !== null);
  }
}

async function newKey(wasRefused) {
  asked ??= askForKey(wasRefused);
  sessionStorage.setItem("key", await asked);
  asked = null;
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return {}; // a proxy's page, or nothing
  }
}
