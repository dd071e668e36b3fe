// One run on the page, drawn again when something happened, and at each frame while it is live.

import { Clock } from "./clock.js";
import { Details } from "./details.js";
import { byId, put, putOrHide, show } from "./dom.js";
import { Graph } from "./graph.js";
import { drawPlan } from "./plan.js";
import { isLive, phase } from "./run.js";
import { mark, seconds, TASK_STATES } from "./states.js";
import { drawStats } from "./stats.js";
import { Timeline } from "./timeline.js";

const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const CALM_PAUSE = 1000; // milliseconds between two pictures for those who want no motion
const PAUSE = 50; // and for all others: the model may need the same processor

export class RunView {
  #run = null;
  #clock = new Clock();
  #chosen = null; // a task's id
  #chosenBy = null; // the button, to go back to
  #isStale = false;
  #drawnAt = 0;
  #timeline = new Timeline((id, button) => this.#choose(id, button));
  #graph = new Graph((id, button) => this.#choose(id, button));
  #details = new Details(() => this.#chosenBy?.focus());

  constructor() {
    drawLegend();
    const frame = (time) => {
      if (this.#isDue(time)) this.#draw(time);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    addEventListener("resize", () => (this.#isStale = true));
  }

  /** Begins with another run, or with none (null). */
  open(run) {
    this.#clock = new Clock();
    this.#chosen = this.#chosenBy = null;
    this.update(run);
  }

  update(run) {
    this.#run = run;
    if (run !== null && run.seq >= 0) this.#clock.heard(run.at);
    this.#isStale = true;
  }

  #choose(id, button) {
    this.#chosen = id;
    this.#chosenBy = button;
    this.#draw(performance.now());
    this.#details.focus();
  }

  #isDue(time) {
    const moves = this.#run !== null && isLive(this.#run) && this.#run.seq >= 0;
    const age = time - this.#drawnAt;
    return age > PAUSE && (this.#isStale || (moves && (!CALM.matches || age > CALM_PAUSE)));
  }

  #draw(time) {
    this.#isStale = false;
    this.#drawnAt = time;
    const run = this.#run;
    show(byId("no-run"), run === null);
    show(byId("run-view"), run !== null);
    document.title = run?.question ? `${run.question.slice(0, 60)} · Headstart` : "Headstart";
    if (run === null) return;
    const now = isLive(run) && run.seq >= 0 ? Math.max(run.at, this.#clock.now()) : run.at;
    const critical = waits(run);
    drawHead(run, now);
    drawPlan(run);
    drawStats(run);
    this.#timeline.draw(run, now, this.#chosen, critical);
    this.#graph.draw(run, now, this.#chosen, critical);
    this.#details.draw(run.tasks.get(this.#chosen), now);
  }
}

/** The critical path as a map: each task of it, and the input that it waited for, if any. */
function waits(run) {
  const path = run.stats?.critical_path ?? [];
  return new Map(
    path.map((id, i) => [id, run.tasks.get(id)?.needs.includes(path[i - 1]) ? path[i - 1] : null]),
  );
}

function drawHead(run, now) {
  const status = byId("run-status");
  status.className = `status ${run.status}`;
  put(status, `${mark(run.status)} ${phase(run)}`);
  put(byId("run-clock"), run.seq < 0 ? "" : seconds(now));
  put(byId("run-question"), run.question);
  put(byId("run-model"), run.model && `Model: ${run.model}`);
  show(byId("run-stop"), isLive(run) && run.id !== null);
  show(byId("run-link"), run.id !== null);
  if (run.id !== null) byId("run-link").href = `/runs/${encodeURIComponent(run.id)}`;
  put(byId("answer"), run.answer || (isLive(run) ? "Not yet." : "None."));
  byId("answer").classList.toggle("hint", run.answer === "");
  putOrHide(byId("run-error"), run.error ? `${run.error.message} (${run.error.reason})` : "");
}

function drawLegend() {
  for (const state of TASK_STATES) {
    const item = document.createElement("li");
    const sign = document.createElement("span");
    sign.className = `mark ${state}`;
    sign.textContent = mark(state);
    item.append(sign, ` ${state}`);
    byId("legend").append(item);
  }
}
