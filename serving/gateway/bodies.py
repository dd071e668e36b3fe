"""What requests and answers hold: checked on the way in, and the source of the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypedDict  # the one that pydantic takes before Python 3.12

from executor.events import Usage
from executor.stats import Stats

Status = Literal["queued", "running", "finished", "failed", "cancelled", "interrupted"]
OnDisconnect = Literal["cancel", "continue"]

MAX_QUESTION = 100_000  # characters
MAX_METADATA = 16  # entries

Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=MAX_METADATA, description="Kept with the run, and given back."),
]


class RunRequest(BaseModel):
    """A question, and how it is to be answered."""

    model_config = ConfigDict(extra="forbid")

    question: Annotated[str, Field(min_length=1, max_length=MAX_QUESTION)]
    tools: Annotated[
        list[str] | None, Field(description="Names of the tools that may be used; all if absent.")
    ] = None
    deadline_seconds: Annotated[
        float | None, Field(gt=0, description="At most, and by default, what the gateway allows.")
    ] = None
    max_plans: Annotated[
        int | None, Field(ge=1, description="At most, and by default, what the gateway allows.")
    ] = None
    answer_schema: Annotated[
        dict[str, Any] | None,
        Field(description="A JSON Schema: the answer is JSON text that fits it."),
    ] = None
    metadata: Metadata = {}
    on_disconnect: Annotated[
        OnDisconnect, Field(description="What becomes of the run when this request's reader goes.")
    ] = "cancel"


class RunError(BaseModel):
    """Why a run has no answer."""

    reason: str
    message: str


class Run(BaseModel):
    """A run as it stands."""

    id: str
    status: Status
    question: str
    tools: list[str]
    metadata: dict[str, str] = {}
    created_at: datetime
    ended_at: datetime | None = None
    answer: str | None = None
    error: RunError | None = None
    stats: Stats | None = None
    usage: Usage | None = None


class RunList(BaseModel):
    """Runs, the latest first; `next` is the `before` of the following page."""

    runs: list[Run]
    next: str | None


class ToolDescription(BaseModel):
    name: str
    description: str
    parameters: Annotated[dict[str, Any], Field(description="A JSON Schema.")]


class ToolList(BaseModel):
    tools: list[ToolDescription]


class Health(TypedDict):
    status: Literal["alive", "ready"]


# Problems, as problems.py makes them


class Fault(TypedDict):
    """What is wrong with a member of the body; `at` is its path, empty for the whole."""

    at: str
    message: str


class OpenAIError(TypedDict):
    message: str
    type: str
    code: str | None


class ProblemDocument(TypedDict):
    """What went wrong (RFC 9457), and the same in OpenAI's way. Programs may rely on `type`."""

    type: str
    title: str
    status: int
    detail: str
    error: OpenAIError
    faults: NotRequired[list[Fault]]
    run: NotRequired[Annotated[str, Field(description="The run that has no answer.")]]
    reason: NotRequired[Annotated[str, Field(description="Why it has none.")]]


# Answers to OpenAI's clients, as chat.py makes them

EventObject = Annotated[
    dict[str, Any], WithJsonSchema({"allOf": [{"$ref": "#/components/schemas/Event"}]})
]


class ChatUsage(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Answer(TypedDict):
    role: Literal["assistant"]
    content: str
    refusal: None


class Choice(TypedDict):
    index: Literal[0]
    message: Answer
    finish_reason: Literal["stop"]
    logprobs: None


class FinishedRun(TypedDict):
    id: str
    status: Literal["finished"]
    stats: Stats


class Completion(TypedDict):
    """An OpenAI chat completion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage
    headstart: FinishedRun


class Delta(TypedDict, total=False):
    role: Literal["assistant"]
    content: str


class ChunkChoice(TypedDict):
    index: Literal[0]
    delta: Delta
    finish_reason: Literal["stop"] | None
    logprobs: None


class CompletionChunk(TypedDict):
    """An OpenAI chat completion chunk, with the event that it stands for."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: NotRequired[ChatUsage | None]
    headstart: NotRequired[EventObject]


class StreamError(TypedDict):
    """In a stream, why the run has no answer."""

    error: OpenAIError
    headstart: EventObject


class ModelEntry(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(TypedDict):
    object: Literal["list"]
    data: list[ModelEntry]
