// Text goes into the page as text only: what models and tools write may be hostile.

// Characters that turn the direction of text around show what isn't there.
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;

export const byId = (id) => document.getElementById(id);

/** Nothing happens if the text is there already, so that a selection of it stays. */
export function put(element, text) {
  const harmless = text.replace(TURNS, "\ufffd");
  if (element.textContent !== harmless) element.textContent = harmless;
}

export function show(element, isShown) {
  element.hidden = !isShown;
}

/** For D3: puts the text that each datum has into its element. */
export const texts = (of) =>
  function (datum) {
    put(this, of(datum));
  };

/** A text in an element that is there only if there is a text. */
export function putOrHide(element, text) {
  put(element, text);
  show(element, text !== "");
}
