"""Holds the gateway's answers against its OpenAPI document."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

Json = dict[str, Any]


class Contract:
    """A document, read strictly: what it doesn't name must not be given."""

    def __init__(self, text: str) -> None:
        self.document: Json = json.loads(text)
        self._components = json.loads(text)["components"]
        for schema in self._components["schemas"].values():
            if "properties" in schema:
                schema.setdefault("additionalProperties", False)

    @classmethod
    @cache
    def of(cls, text: str) -> Contract:
        return cls(text)

    def operation(self, method: str, path: str) -> Json | None:
        """The one that answers this; None if the document has none."""
        for template, operations in self.document["paths"].items():
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path.partition("?")[0]):
                found: Json | None = operations.get(method.lower())
                return found
        return None

    def schema(self, operation: Json | None, status: int, media: str) -> Json:
        """That of such an answer. What is no operation gives problems only."""
        if operation is None:
            return {"$ref": "#/components/schemas/ProblemDocument"}
        found: Json = operation["responses"][str(status)]["content"][media]["schema"]
        return found

    def fits(self, item: Any, schema: Json) -> None:
        Draft202012Validator({**schema, "components": self._components}).validate(item)

    def check(self, method: str, path: str, status: int, media: str, text: str) -> None:
        """Raises if this is not as the document says it."""
        schema = self.schema(self.operation(method, path), status, media)
        if media == "text/event-stream":
            for message in text.split("\n\n")[:-1]:
                self._check_message(message, schema)
        else:
            self.fits(json.loads(text) if media.endswith("json") else text, schema)

    def _check_message(self, text: str, schema: Json) -> None:
        fields = dict(line.split(": ", 1) for line in text.splitlines() if line[0] != ":")
        if not fields:
            return
        self.fits(fields, {**schema, "additionalProperties": False})
        data = schema["properties"]["data"]
        [content] = [each for each in data.get("anyOf", [data]) if "contentSchema" in each]
        if fields["data"] != "[DONE]":
            self.fits(json.loads(fields["data"]), content["contentSchema"])
