"""The tools that come with the project: look up a fact, and calculate with units."""

from executor.builtin.calculator import calculate as _calculate
from executor.builtin.facts import search as _search
from executor.tools import ToolBox, tool

search = tool(idempotent=True)(_search)
calculate = tool(idempotent=True)(_calculate)

TOOLBOX = ToolBox([search, calculate])
