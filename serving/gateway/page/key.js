// Asks for the gateway's key.

import { byId, put, show } from "./dom.js";

const form = byId("key");
const field = byId("key-text");

/** The key that is entered. */
export function askForKey(wasRefused) {
  put(byId("key-note"), wasRefused ? "This key is not accepted." : "");
  show(form, true);
  field.value = "";
  field.focus();
  return new Promise((resolve) => {
    form.addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        show(form, false);
        resolve(field.value);
      },
      { once: true },
    );
  });
}
