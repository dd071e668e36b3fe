// The question box, with the tools at hand.

import * as api from "./api.js";
import { byId, put, putOrHide } from "./dom.js";

const form = byId("ask");
let isAsking = false; // a question is asked once, however often the button is pressed

/** `ask` is called with the body of a request, {question, tools?}; it may raise. */
export async function setUpAsking(ask) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isAsking) return;
    isAsking = true;
    await tell(() => ask({ question: byId("question").value, ...chosenTools() }));
    isAsking = false;
  });
  byId("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  byId("tools").addEventListener("change", countTools);
  await tell(async () => {
    byId("tools").replaceChildren(...(await api.tools()).map(choice));
    countTools();
  });
}

async function tell(action) {
  putOrHide(byId("ask-problem"), "");
  try {
    await action();
  } catch (error) {
    putOrHide(byId("ask-problem"), error.message);
  }
}

const boxes = () => [...byId("tools").querySelectorAll("input")];

function chosenTools() {
  const chosen = boxes().filter((box) => box.checked);
  return chosen.length === boxes().length ? {} : { tools: chosen.map((box) => box.value) };
}

function countTools() {
  const chosen = boxes().filter((box) => box.checked).length;
  put(byId("tools-summary"), `Tools: ${chosen} of ${boxes().length}`);
}

function choice({ name, description }) {
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), {
    type: "checkbox",
    value: name,
    checked: true,
  });
  const code = document.createElement("code");
  put(code, name);
  const words = document.createElement("span");
  words.className = "hint";
  put(words, description);
  label.append(box, code, words);
  return label;
}
