// One tab stop for a group of buttons; arrow keys, Home and End move within it.

const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };

export function moveByArrows(group) {
  group.addEventListener("keydown", (event) => {
    const buttons = [...group.querySelectorAll("button")];
    const target = next(buttons, buttons.indexOf(document.activeElement), event.key);
    if (target === undefined) return;
    event.preventDefault();
    target.focus();
  });
  group.addEventListener("focusin", (event) => keepOneStop(group, event.target));
}

/** To be called when buttons were added or removed. */
export function keepOneStop(group, chosen = null) {
  const buttons = [...group.querySelectorAll("button")];
  const stop = chosen ?? buttons.find((button) => button.tabIndex === 0) ?? buttons[0];
  for (const button of buttons) button.tabIndex = button === stop ? 0 : -1;
}

function next(buttons, from, key) {
  if (from === -1) return undefined;
  if (key === "Home") return buttons[0];
  if (key === "End") return buttons.at(-1);
  return key in STEPS ? buttons[from + STEPS[key]] : undefined;
}
