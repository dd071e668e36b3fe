// The states of tasks and runs: each has a mark, so that colour is never all there is.

const MARKS = {
  waiting: "○",
  running: "●",
  done: "✓",
  failed: "✗",
  skipped: "↷",
  cancelled: "■",
  queued: "○",
  finished: "✓",
  interrupted: "■",
};

export const mark = (state) => MARKS[state] ?? "·";

export const TASK_STATES = ["waiting", "running", "done", "failed", "skipped", "cancelled"];

export const seconds = (time) => (time === null ? "–" : `${time.toFixed(2)} s`);

/** How long a task has run, or null if it never did. */
export const duration = (task, now) =>
  task.started === null ? null : Math.max(0, (task.ended ?? now) - task.started);

/** A task in words, for those who don't see the picture. */
export function spoken(task, now, isCritical) {
  const time = duration(task, now);
  const parts = [`Task ${task.id}`, task.tool, task.state];
  if (time !== null && task.ended !== null) parts.push(seconds(time));
  if (task.needs.length) parts.push(`needs ${task.needs.join(", ")}`);
  if (isCritical) parts.push("on the critical path");
  return parts.join(", ");
}
