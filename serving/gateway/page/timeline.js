// A lane for each plan, task and join, over one axis of seconds.

import { keepOneStop, moveByArrows } from "./arrows.js";
import { byId, texts } from "./dom.js";
import { isLive, joinBegan, tasksOf } from "./run.js";
import { duration, mark, seconds, spoken } from "./states.js";

const { scaleLinear, select } = globalThis.d3;

const TICK_WIDTH = 90; // pixels that a tick's label needs with room around it
const EDGE = 92; // percent of the width, behind which a label would stick out
const FIRST_END = 2; // seconds on the axis of a run that has just begun
const GROWTH = 1.5; // the axis grows in steps: bars that shrink all the time can't be read

export class Timeline {
  #lanes = byId("lanes");
  #ruler = byId("ruler");

  /** `choose` is called with the id of the task that is chosen. */
  constructor(choose) {
    this.#lanes.addEventListener("click", ({ target }) => {
      const lane = target.closest("button");
      if (lane !== null) choose(Number(lane.dataset.task), lane);
    });
    moveByArrows(this.#lanes);
  }

  draw(run, now, chosen, critical) {
    const scale = scaleLinear([0, axisEnd(run, now)], [0, 100]);
    this.#drawRuler(scale);
    this.#drawLanes(rows(run, now), scale, now, chosen, critical);
  }

  #drawRuler(scale) {
    const ticks = scale.ticks(Math.max(2, this.#ruler.clientWidth / TICK_WIDTH));
    const label = scale.tickFormat(ticks.length);
    select(this.#ruler)
      .selectAll("span")
      .data(ticks)
      .join("span")
      .style("left", (tick) => `${scale(tick)}%`)
      .classed("edge", (tick) => scale(tick) > EDGE)
      .each(texts(label));
  }

  #drawLanes(data, scale, now, chosen, critical) {
    const lanes = select(this.#lanes)
      .selectAll(".lane")
      .data(data, (row) => row.key)
      .join((enter) => enter.append(newLane))
      .order()
      .attr("class", (row) => `lane ${row.kind} ${row.state}`)
      .classed("critical", ({ task }) => task !== undefined && critical.has(task.id));
    lanes
      .filter("button")
      .attr("aria-pressed", ({ task }) => task.id === chosen)
      .attr("aria-label", ({ task }) => spoken(task, now, critical.has(task.id)));
    lanes.select(".mark").each(texts((row) => row.mark));
    lanes.select(".name").each(texts((row) => row.name));
    lanes.select(".time").each(texts((row) => row.time));
    for (const part of ["under", "wait", "bar"]) {
      lanes
        .select(`.${part}`)
        .classed("none", (row) => row[part] === null)
        .style("left", (row) => row[part] && `${scale(row[part][0])}%`)
        .style("width", (row) => row[part] && `${scale(row[part][1]) - scale(row[part][0])}%`);
    }
    keepOneStop(this.#lanes);
  }
}

function axisEnd(run, now) {
  if (!isLive(run)) return now || 1;
  return FIRST_END * GROWTH ** Math.max(0, Math.ceil(Math.log(now / FIRST_END) / Math.log(GROWTH)));
}

/** What each lane shows: its spans are [from, to] in seconds, or null. */
function rows(run, now) {
  return run.plans.flatMap((plan) => [
    planRow(run, plan, now),
    ...tasksOf(run, plan).map((task) => taskRow(plan, task, now)),
    ...joinRows(run, plan, now),
  ]);
}

function planRow(run, plan, now) {
  const end = plan.ended ?? plan.closed ?? now;
  return {
    key: `plan ${plan.number}`,
    kind: "plan",
    state: plan.ended === null && isLive(run) ? "running" : "done",
    mark: "",
    name: run.plans.length > 1 ? `plan ${plan.number}` : "plan",
    time: seconds(end - plan.began),
    under: null,
    wait: null,
    bar: [plan.began, end],
  };
}

function taskRow(plan, task, now) {
  const end = task.ended ?? now;
  return {
    key: `task ${task.id}`,
    kind: "task",
    state: task.state,
    task,
    mark: mark(task.state),
    name: task.line,
    time: task.started === null ? task.state : seconds(duration(task, now)),
    under: [plan.began, plan.ended ?? plan.closed ?? now],
    wait: [task.sealed, task.started ?? end],
    bar: task.started === null ? null : [task.started, end],
  };
}

function joinRows(run, plan, now) {
  const began = joinBegan(run, plan);
  if (began === null) return [];
  const end = plan.closed ?? now;
  return [
    {
      key: `join ${plan.number}`,
      kind: "join",
      state: plan.closed === null && isLive(run) ? "running" : "done",
      mark: "",
      name: plan.again === null ? "join" : "join: plan again",
      time: seconds(end - began),
      under: null,
      wait: null,
      bar: [began, end],
    },
  ];
}

function newLane({ kind, task }) {
  const lane = document.createElement(kind === "task" ? "button" : "div");
  if (kind === "task") {
    lane.type = "button";
    lane.tabIndex = -1;
    lane.dataset.task = task.id;
  }
  const add = (name, parent) => {
    const part = document.createElement("span");
    part.className = name;
    parent.append(part);
    return part;
  };
  add("mark", lane);
  add("name foreign", lane);
  const track = add("track", lane);
  for (const part of ["under", "wait", "bar"]) add(part, track);
  add("time", lane);
  return lane;
}
