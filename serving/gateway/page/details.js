// All that is known of the task that is chosen.

import { byId, put, show, texts } from "./dom.js";
import { duration, mark, seconds } from "./states.js";

const { select } = globalThis.d3;

const WHERE = {
  loop: "event loop",
  thread: "a thread",
  process: "a process",
  shared: "shared with an equal call",
  cache: "from the cache",
};

export class Details {
  #card = byId("details");
  #title = byId("details-title");

  /** `close` is called when Escape is pressed here. */
  constructor(close) {
    this.#card.addEventListener("keydown", ({ key }) => {
      if (key === "Escape") close();
    });
  }

  /** Brings the panel to those who look, and to those who listen. */
  focus() {
    this.#card.scrollIntoView({ block: "nearest" });
    this.#title.focus({ preventScroll: true });
  }

  draw(task, now) {
    show(byId("details-empty"), task === undefined);
    show(byId("details-body"), task !== undefined);
    put(this.#title, task === undefined ? "Task" : `Task ${task.id}: ${task.tool}`);
    if (task === undefined) return;
    drawFacts(facts(task, now));
    put(byId("details-line"), task.line);
    put(byId("details-args"), JSON.stringify(task.resolved ?? task.args, null, 2));
    put(byId("details-outcome-title"), task.message ? "Error" : "Result");
    put(byId("details-outcome"), task.message || (task.result ?? "None yet."));
    byId("details-outcome").classList.toggle("bad", task.state === "failed");
  }
}

function drawFacts(all) {
  const rows = select(byId("details-facts"))
    .selectAll("div")
    .data(all)
    .join((enter) => enter.append(newFact));
  rows.select("dt").each(texts(([name]) => name));
  rows.select("dd").each(texts(([, value]) => value));
}

const facts = (task, now) => [
  ["State", `${mark(task.state)} ${task.state}${task.reason ? ` (${task.reason})` : ""}`],
  ["Inputs", task.needs.length ? task.needs.map((id) => `$${id}`).join(", ") : "none"],
  ["Where", WHERE[task.where] ?? (task.where || "–")],
  ["Tries", task.tries ? String(task.tries) : "–"],
  ["Sealed at", seconds(task.sealed)],
  ["Ready at", seconds(task.ready)],
  ["Started at", seconds(task.started)],
  ["Ended at", seconds(task.ended)],
  ["Ran for", seconds(duration(task, now))],
];

function newFact() {
  const fact = document.createElement("div");
  fact.append(document.createElement("dt"), document.createElement("dd"));
  return fact;
}
