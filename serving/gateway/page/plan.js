// The plans' text as it is written, line by line, with the state of each line's task.

import { byId, texts } from "./dom.js";
import { isLive } from "./run.js";
import { mark } from "./states.js";

const { select } = globalThis.d3;

const box = byId("plan");

export function drawPlan(run) {
  const wasAtEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 4;
  const lines = select(box)
    .selectAll("p")
    .data(run.plans.flatMap((plan) => linesOf(run, plan)))
    .join((enter) => enter.append(newLine))
    .attr("class", ({ kind, state = "" }) => `line ${kind} ${state}`);
  lines.select(".mark").each(texts(({ state }) => (state === undefined ? "" : mark(state))));
  lines.select(".text").each(texts(({ text }) => text));
  if (wasAtEnd && isLive(run)) box.scrollTop = box.scrollHeight;
}

function linesOf(run, plan) {
  const all = plan.lines.flatMap((line) => withNote(run, line));
  if (plan.ended === null && isLive(run)) {
    all.push({ kind: "writing", text: plan.writing.trimStart() });
  }
  if (plan.note) all.push({ kind: "note", text: plan.note });
  if (plan.again !== null) all.push({ kind: "note", text: `Plans again: ${plan.again}` });
  return all;
}

function withNote(run, { text, task, refused }) {
  if (refused === undefined) return [{ kind: "sealed", text, state: run.tasks.get(task)?.state }];
  return [
    { kind: "refused", text },
    { kind: "note", text: `Refused: ${refused}` },
  ];
}

function newLine() {
  const line = document.createElement("p");
  for (const name of ["mark", "text foreign"]) {
    const part = document.createElement("span");
    part.className = name;
    line.append(part);
  }
  return line;
}
