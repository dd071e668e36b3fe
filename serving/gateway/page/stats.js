// A run's statistics.

import { byId, texts } from "./dom.js";
import { seconds } from "./states.js";

const { select } = globalThis.d3;

export function drawStats({ stats }) {
  byId("stats-card").hidden = stats === null;
  if (stats === null) return;
  const figures = select(byId("stats"))
    .selectAll("div")
    .data(rows(stats))
    .join((enter) => enter.append(newFigure));
  figures.select("dt").each(texts(([name]) => name));
  figures.select("dd").each(texts(([, value]) => value));
  figures.attr("title", ([, , meaning]) => meaning);
}

const rows = (stats) => [
  ["First task", seconds(stats.time_to_first_task), "From the question to the first call"],
  ["Plan", seconds(stats.plan_seconds), "How long plans were being written"],
  ["Tools", seconds(stats.tools_seconds), "Summed over the calls"],
  ["Overlap", seconds(stats.overlap_seconds), "The part of the calls while a plan was written"],
  ["Total", seconds(stats.seconds), "From the question to the end"],
  ["Ideal", seconds(stats.ideal_seconds), "What no implementation can beat"],
  ["Efficiency", stats.efficiency.toFixed(3), "Ideal / total"],
  ["Critical path", stats.critical_path.join(" → ") || "–", "The tasks that the run waited for"],
];

function newFigure() {
  const figure = document.createElement("div");
  figure.append(document.createElement("dt"), document.createElement("dd"));
  return figure;
}
