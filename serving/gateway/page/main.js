// The page: a question becomes a run, a run has an address, its events become a picture.

import * as api from "./api.js";
import { setUpAsking } from "./ask.js";
import { byId, put, putOrHide } from "./dom.js";
import { follow } from "./follow.js";
import { askForKey } from "./key.js";
import { PastRuns } from "./past.js";
import { isLive, NO_RUN, reduce, settle } from "./run.js";
import { RunView } from "./runview.js";

const view = new RunView();
const past = new PastRuns();
let watching = new AbortController(); // ends what is being read when another run is opened
let current = null; // the id of the run that is shown

async function ask(body) {
  const next = new AbortController();
  const response = await api.start(body, next.signal);
  const id = decodeURIComponent(response.headers.get("Location").split("/").pop());
  const signal = leave(next);
  history.pushState(null, "", `/runs/${encodeURIComponent(id)}`);
  past.refresh();
  watch({ ...NO_RUN, id, question: body.question }, signal, response);
  byId("run").focus();
}

/** Shows the run that the address names. */
async function openAddress() {
  const signal = leave();
  const id = /^\/runs\/([^/]+)$/.exec(location.pathname)?.[1];
  view.open(null);
  past.mark(null);
  if (id === undefined) return;
  await attempt(signal, async () => {
    const { id: known, question } = await api.run(decodeURIComponent(id));
    if (!signal.aborted) await watch({ ...NO_RUN, id: known, question }, signal);
  });
}

/** Draws a run's events until its last. */
async function watch(run, signal, response = null) {
  const { id } = run;
  current = id;
  past.mark(id);
  view.open(run);
  const connection = {
    open: (lastId) => api.events(id, lastId, signal),
    isLive: async () => isLive(await api.run(id)),
    isPassing: api.isPassing,
    lost: (is) => put(byId("run-connection"), is ? "Connection lost, trying again" : ""),
  };
  await attempt(signal, async () => {
    for await (const event of follow(connection, signal, response)) {
      if (signal.aborted) return;
      run = reduce(run, event);
      view.update(run);
    }
  });
  if (signal.aborted) return;
  past.refresh();
  if (!isLive(run)) return;
  await attempt(signal, async () => {
    const kept = await api.run(id);
    if (!signal.aborted) view.update(settle(run, kept));
  });
}

/** What goes wrong is told, unless another run is shown by then. */
async function attempt(signal, action) {
  try {
    await action();
  } catch (error) {
    if (!signal.aborted) putOrHide(byId("run-problem"), error.message);
  }
}

/** Ends the reading of the run that is shown, and gives the signal for the next one's. */
function leave(next = new AbortController()) {
  watching.abort();
  watching = next;
  current = null;
  putOrHide(byId("run-problem"), "");
  put(byId("run-connection"), "");
  return watching.signal;
}

const stop = () => attempt(watching.signal, () => api.stop(current));

/** Links to runs change what is shown, not the page; with Ctrl and the like they are links. */
function followLink(event) {
  const link = event.target.closest("a[href^='/']");
  const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey);
  if (link === null || !isPlain) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  openAddress();
  byId("run").focus();
}

api.onKeyNeeded(askForKey);
byId("run-stop").addEventListener("click", stop);
document.addEventListener("click", followLink);
addEventListener("popstate", openAddress);
setUpAsking(ask);
past.refresh();
openAddress();
