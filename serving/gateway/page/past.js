// The runs so far, the latest first.

import * as api from "./api.js";
import { byId, put, show } from "./dom.js";
import { mark } from "./states.js";

const list = byId("past");
const more = byId("past-more");
const when = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "numeric",
  minute: "2-digit",
});

export class PastRuns {
  #next = null;
  #current = null;

  constructor() {
    more.addEventListener("click", () => this.#load(this.#next));
  }

  refresh = () => this.#load(null);

  /** Marks the run that is being shown. */
  mark(id) {
    this.#current = id;
    for (const link of list.querySelectorAll("a")) {
      if (link.dataset.run === id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  async #load(before) {
    try {
      const { runs, next } = await api.runs(before);
      const items = runs.map(item);
      if (before === null) list.replaceChildren(...items);
      else list.append(...items);
      this.#next = next;
      show(more, next !== null);
      put(byId("past-note"), list.childElementCount ? "" : "None yet.");
      this.mark(this.#current);
    } catch (error) {
      put(byId("past-note"), error.message);
    }
  }
}

function item({ id, status, question, created_at }) {
  const link = document.createElement("a");
  link.href = `/runs/${encodeURIComponent(id)}`;
  link.dataset.run = id;
  const parts = [
    [`mark ${status}`, mark(status)],
    ["question foreign", question],
    ["hint", `${status}, ${when.format(new Date(created_at))}`],
  ];
  for (const [name, text] of parts) {
    const part = document.createElement("span");
    part.className = name;
    put(part, text);
    link.append(part);
  }
  const entry = document.createElement("li");
  entry.append(link);
  return entry;
}
