// Reads text/event-stream. EventSource can't: it sends no Authorization header and no POST.

/** The messages of a response's body, each {id, event, data}; one that is cut off is left out. */
export async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let message = {};
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      // A \r at the very end may be the first half of \r\n.
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line !== "") {
          take(message, line);
        } else if ("data" in message) {
          yield message;
          message = {};
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // a connection that broke is closed already
  }
}

function take(message, line) {
  const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
  if (field === "data" && "data" in message) message.data += `\n${value ?? ""}`;
  else if (field !== "") message[field] = value ?? ""; // a line without a field is a comment
}
