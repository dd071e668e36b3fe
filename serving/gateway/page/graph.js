// The tasks and what they need, laid out in layers from left to right.

import { keepOneStop, moveByArrows } from "./arrows.js";
import { byId, texts } from "./dom.js";
import { mark, spoken } from "./states.js";
import * as dag from "/page/vendor/d3-dag-1.2.2.esm.min.mjs";

const { curveBumpX, line, select } = globalThis.d3;

const NODE = [168, 44]; // width and height in pixels, as in the style sheet
const GAP = [52, 12];
const MANY = 40; // tasks, from which on a quick layout is better than a fine one

const curve = line().curve(curveBumpX);

export class Graph {
  #box = byId("graph");
  #edges = select(this.#box).append("svg").attr("aria-hidden", "true");
  #laidOut = ""; // the tasks that the layout is of
  #layout = { width: 0, height: 0, nodes: [], links: [] };

  /** `choose` is called with the id of the task that is chosen. */
  constructor(choose) {
    this.#box.addEventListener("click", ({ target }) => {
      const node = target.closest("button");
      if (node !== null) choose(Number(node.dataset.task), node);
    });
    moveByArrows(this.#box);
  }

  draw(run, now, chosen, critical) {
    const tasks = [...run.tasks.values()];
    const key = JSON.stringify([run.id, tasks.map(({ id, needs }) => [id, needs])]);
    if (key !== this.#laidOut) {
      this.#layout = layOut(tasks);
      this.#laidOut = key;
    }
    this.#drawEdges(critical);
    this.#drawNodes(run, now, chosen, critical);
  }

  #drawEdges(critical) {
    const { width, height, links } = this.#layout;
    select(this.#box).style("width", `${width}px`).style("height", `${height}px`);
    this.#edges
      .attr("width", width)
      .attr("height", height)
      .selectAll("path")
      .data(links)
      .join("path")
      .attr("d", ({ points }) => curve(points))
      .classed("critical", ({ from, to }) => critical.get(to) === from);
  }

  #drawNodes(run, now, chosen, critical) {
    const task = ({ id }) => run.tasks.get(id);
    const nodes = select(this.#box)
      .selectAll("button")
      .data(this.#layout.nodes, ({ id }) => id)
      .join((enter) => enter.append(newNode))
      .order()
      .style("left", ({ x }) => `${x}px`)
      .style("top", ({ y }) => `${y}px`)
      .attr("class", (node) => `node ${task(node).state}`)
      .classed("critical", ({ id }) => critical.has(id))
      .attr("aria-pressed", ({ id }) => id === chosen)
      .attr("aria-label", (node) => spoken(task(node), now, critical.has(node.id)));
    nodes.select(".mark").each(texts((node) => mark(task(node).state)));
    nodes.select(".tool").each(texts((node) => `${node.id}. ${task(node).tool}`));
    nodes.select(".args").each(texts((node) => inParentheses(task(node).line)));
    keepOneStop(this.#box);
  }
}

function layOut(tasks) {
  if (tasks.length === 0) return { width: 0, height: 0, nodes: [], links: [] };
  const known = new Set(tasks.map(({ id }) => id));
  const graph = dag.graphStratify()(
    tasks.map(({ id, needs }) => ({
      id: String(id),
      parentIds: needs.filter((need) => known.has(need)).map(String),
    })),
  );
  // The layout goes from top to bottom; ours is turned, so that it runs like time.
  const layout = dag.sugiyama().nodeSize([NODE[1], NODE[0]]).gap([GAP[1], GAP[0]]);
  const quick = layout.decross(dag.decrossDfs()).coord(dag.coordGreedy());
  const size = (tasks.length < MANY ? layout : quick)(graph);
  const nodes = [...graph.nodes()].map(({ data, x, y }) => ({ id: Number(data.id), x: y, y: x }));
  return {
    width: size.height,
    height: size.width,
    nodes: nodes.sort((a, b) => a.id - b.id),
    links: [...graph.links()].map(({ source, target, points }) => ({
      from: Number(source.data.id),
      to: Number(target.data.id),
      points: turned(points),
    })),
  };
}

/** From a node's right side to the other's left. */
function turned(points) {
  const ends = points.map(([x, y]) => [y, x]);
  ends[0][0] += NODE[0] / 2;
  ends.at(-1)[0] -= NODE[0] / 2;
  return ends;
}

const inParentheses = (text) => text.slice(text.indexOf("(") + 1).replace(/\)$/, "");

function newNode({ id }) {
  const node = document.createElement("button");
  node.type = "button";
  node.tabIndex = -1;
  node.dataset.task = id;
  for (const name of ["mark", "tool foreign", "args foreign"]) {
    const part = document.createElement("span");
    part.className = name;
    node.append(part);
  }
  return node;
}
