"""The one shape in which prompts travel."""

from typing import Literal, TypedDict

Role = Literal["system", "user", "assistant"]


class Message(TypedDict):
    """A turn of a chat."""

    role: Role
    content: str
