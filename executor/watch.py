"""Names a tool that holds up the event loop, while it does: a thread looks from time to time."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from time import monotonic

BLOCKED_SECONDS = 0.5  # of one step; less, and a collection of garbage may be blamed on a tool
LOOK_SECONDS = 0.25
FRAMES = 3  # of the stack, from where it stands

_log = logging.getLogger(__name__)


class Watch:
    """Of one event loop, while anybody wants it.

    `step` is the tool whose code runs, and since when; whoever runs it sets it.
    """

    def __init__(self) -> None:
        self.step: tuple[str, float] | None = None
        self._wanted = 0
        self._is_over = threading.Event()

    def begin(self) -> None:
        """Somebody more wants it. Called from the thread of the loop."""
        self._wanted += 1
        if self._wanted == 1:
            self._is_over = threading.Event()
            of = threading.get_ident()
            look = threading.Thread(target=self._look, args=(self._is_over, of), daemon=True)
            look.name = "watch of the event loop"
            look.start()

    def end(self) -> None:
        """One of them does no more."""
        self._wanted -= 1
        if not self._wanted:
            self._is_over.set()

    def _look(self, is_over: threading.Event, thread: int) -> None:
        told = None
        while not is_over.wait(LOOK_SECONDS):
            step = self.step
            if step is None or step is told or monotonic() - step[1] < BLOCKED_SECONDS:
                continue
            told = step
            stack = traceback.format_stack(sys._current_frames().get(thread))
            _log.warning(
                "the tool %s holds up all others; as a plain function, which runs in a thread, it "
                "would not. It stands at\n%s",
                step[0],
                "".join(stack[-FRAMES:]),
            )
