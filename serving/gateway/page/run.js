// A run as far as its events tell, as plain data. Nothing here touches the page.

export const NO_RUN = {
  seq: -1, // of the last event that was taken in
  at: 0, // when it happened; this and all times are in seconds since the run began
  id: null,
  question: "",
  model: "",
  status: "queued", // running, finished, failed, cancelled, interrupted
  plans: [],
  tasks: new Map(), // by id, in the order of the plan
  answer: "",
  error: null, // {reason, message}
  stats: null,
};

const NEW_PLAN = { ended: null, closed: null, lines: [], writing: "", note: "", again: null };

const NEW_TASK = {
  state: "waiting", // running, done, failed, skipped, cancelled
  ready: null,
  started: null,
  ended: null,
  resolved: null, // the arguments with results in the place of references
  where: "",
  tries: 0,
  result: null,
  reason: "",
  message: "",
};

/** The run after one more event. One of an unknown type, or known already, changes nothing. */
export function reduce(run, event) {
  if (event.seq <= run.seq) return run;
  const change = Object.hasOwn(CHANGES, event.type) ? CHANGES[event.type](run, event) : {};
  return { ...run, ...change, seq: event.seq, at: event.at };
}

/** The run with what the gateway keeps of it, for one whose last event is missing. */
export function settle(run, { id, status, question, answer, error, stats }) {
  return {
    ...run,
    id,
    status,
    question,
    answer: answer ?? run.answer,
    error: error ?? run.error,
    stats: stats ?? run.stats,
  };
}

export const isLive = (run) => run.status === "queued" || run.status === "running";

export const isLast = ({ type }) => ["run_finished", "run_failed", "run_cancelled"].includes(type);

export const tasksOf = (run, plan) =>
  [...run.tasks.values()].filter((task) => task.plan === plan.number);

/** When a plan's join began: its plan is written and its tasks have ended. Null before that. */
export function joinBegan(run, plan) {
  const ends = [plan.ended, ...tasksOf(run, plan).map((task) => task.ended)];
  return ends.includes(null) ? null : Math.max(...ends);
}

/** What a run does just now, in a word or two. */
export function phase(run) {
  if (run.status !== "running") return STATUS_WORDS[run.status] ?? run.status;
  const plan = run.plans.at(-1);
  if (plan === undefined) return "Starting";
  if (plan.ended === null) return "Planning";
  return joinBegan(run, plan) === null ? "Running tools" : "Answering";
}

const STATUS_WORDS = {
  queued: "Waiting for its turn",
  finished: "Answered",
  failed: "Failed",
  cancelled: "Stopped",
  interrupted: "Interrupted",
};

const CHANGES = {
  run_started: (run, { run_id, question, model }) => ({
    id: run_id,
    question,
    model,
    status: "running",
  }),
  plan_started: (run, { plan, at }) => ({
    plans: [...run.plans, { ...NEW_PLAN, number: plan, began: at }],
  }),
  plan_text: (run, { text }) => lastPlan(run, (plan) => ({ writing: plan.writing + text })),
  line_refused: (run, { line, message }) =>
    lastPlan(run, (plan) => ({
      lines: [...plan.lines, { text: line, refused: message }],
      writing: "",
    })),
  task_sealed: (run, { task_id, tool, args, needs, line, at }) => ({
    tasks: new Map(run.tasks).set(task_id, {
      ...NEW_TASK,
      id: task_id,
      plan: run.plans.at(-1)?.number,
      tool,
      args,
      needs,
      line,
      sealed: at,
    }),
    ...lastPlan(run, (plan) => ({
      lines: [...plan.lines, { text: line, task: task_id }],
      writing: plan.writing.replace(/^\s*.*\n?/, ""), // the line, as the model spelled it
    })),
  }),
  task_started: (run, { task_id, args, where, ready, at }) =>
    oneTask(run, task_id, { state: "running", resolved: args, where, ready, started: at }),
  task_finished: (run, { task_id, result, tries, at }) =>
    oneTask(run, task_id, { state: "done", result, tries, ended: at }),
  task_failed: (run, event) => unanswered(run, "failed", event),
  task_skipped: (run, event) => unanswered(run, "skipped", event),
  task_cancelled: (run, event) => unanswered(run, "cancelled", event),
  plan_finished: (run, { ended_by, message, at }) =>
    lastPlan(run, (plan) => ({
      ended: at,
      lines: plan.writing.trim() ? [...plan.lines, { text: plan.writing.trim() }] : plan.lines,
      writing: "",
      note: ended_by === "join" ? "" : `Broken off (${ended_by}): ${message}`,
    })),
  answer_text: (run, { text }) => ({ answer: run.answer + text }),
  replan: (run, { reason, at }) => lastPlan(run, () => ({ closed: at, again: reason })),
  run_finished: (run, { answer, stats, at }) => ({
    ...closed(run, at),
    status: "finished",
    answer,
    stats,
  }),
  run_failed: (run, event) => unfinished(run, "failed", event),
  run_cancelled: (run, event) => unfinished(run, "cancelled", event),
};

function lastPlan(run, change) {
  const plan = run.plans.at(-1);
  return plan ? { plans: [...run.plans.slice(0, -1), { ...plan, ...change(plan) }] } : {};
}

function oneTask(run, id, change) {
  const task = run.tasks.get(id);
  return task ? { tasks: new Map(run.tasks).set(id, { ...task, ...change }) } : {};
}

function unanswered(run, state, { task_id, reason, message, tries = 0, at }) {
  return oneTask(run, task_id, { state, reason, message, tries, ended: at });
}

function unfinished(run, status, { reason, message, stats, at }) {
  return { ...closed(run, at), status, error: { reason, message }, stats };
}

const closed = (run, at) => lastPlan(run, () => ({ closed: at }));
