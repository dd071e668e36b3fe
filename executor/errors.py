"""What can go wrong, named by whose fault it is.

    HeadstartError
      UsageError            the caller's: an argument, a tools file, a setting
        ToolDefinitionError   a function or schema that can't be a tool
      PlanError             the planner's: a text that is no plan
      ArgumentError         the plan's: an argument that the tool's schema refuses
      ToolError             a tool's own word that it can't answer; raise it inside a tool
      EngineError           the engine's: not reachable, refused, died
      RunError              a run's: the question is too long, the model gave no usable answer

Every message says what happened, where, and what to do, so that it can be shown as it is.
"""


class HeadstartError(Exception):
    """Base of all errors that are raised on purpose."""


class UsageError(HeadstartError):
    """The caller asked for something that can't be done as asked."""


class ToolDefinitionError(UsageError):
    """A function or a schema can't become a tool; names the tool, the parameter and the reason."""


class PlanError(HeadstartError):
    """A text that is no plan, and the `reason`. `line` and `column` count from 1."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {reason}")
        self.reason = reason
        self.line = line
        self.column = column


class ArgumentError(HeadstartError):
    """An argument that the tool's schema refuses; names the parameter and the reason."""


class ToolError(HeadstartError):
    """A tool can't answer; the message goes to the joiner as it is."""


class EngineError(HeadstartError):
    """The engine is not there, refused a request, or died."""


class RunError(HeadstartError):
    """A run can't go on. `reason` is one word for programs, the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
