"""What requests and answers hold: checked on the way in, and the source of the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from executor.events import Usage
from executor.stats import Stats

Status = Literal["queued", "running", "finished", "failed", "cancelled", "interrupted"]
OnDisconnect = Literal["cancel", "continue"]

MAX_QUESTION = 100_000  # characters
MAX_METADATA = 16  # entries


class RunRequest(BaseModel):
    """A question, and how it is to be answered."""

    model_config = ConfigDict(extra="forbid", strict=True)

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
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
        Field(max_length=MAX_METADATA, description="Kept with the run, and given back."),
    ] = {}
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
