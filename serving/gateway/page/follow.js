// Follows a run's events over as many connections as it takes.

import { isLast } from "./run.js";
import { messages } from "./sse.js";

const FIRST_WAIT = 500; // milliseconds
const LONGEST_WAIT = 15_000;

/**
 * A run's events, each once, until its last.
 *
 * `connection` has
 *   open(lastId)  a Response with the events behind `lastId`, or all if it is null
 *   isLive()      whether more events can come, asked when a stream ends without the last one
 *   isPassing(e)  whether an error may be gone at the next try
 *   lost(is)      is told when the connection is lost, and when it is back
 * `first` is a Response that is open already, if there is one.
 */
export async function* follow(connection, signal, first = null) {
  let lastId = null;
  let wait = FIRST_WAIT;
  let response = first;
  while (!signal.aborted) {
    try {
      response ??= await connection.open(lastId);
      connection.lost(false);
      for await (const { id, data } of messages(response.body)) {
        if (lastId !== null && Number(id) <= Number(lastId)) continue;
        lastId = id;
        wait = FIRST_WAIT;
        const event = JSON.parse(data);
        yield event;
        if (isLast(event)) return;
      }
      if (!(await connection.isLive())) return;
    } catch (error) {
      if (signal.aborted || !connection.isPassing(error)) throw error;
    }
    connection.lost(true);
    response = null;
    await pause(wait, signal);
    wait = Math.min(2 * wait, LONGEST_WAIT);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
