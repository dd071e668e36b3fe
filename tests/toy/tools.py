"""Five tools of a small company, over tables that fit on a page."""

from collections.abc import Mapping
from typing import Literal, TypeVar

from executor.errors import ToolError
from executor.tools import tool

T = TypeVar("T")
Currency = Literal["EUR", "USD", "GBP", "CHF"]
Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday"]

STOCK = {
    "B-220": 140,
    "A-100": 12,
    "C-17": 0,
    "K-305": 61,
    "H-88": 7,
    "D-414": 2300,
    "F-62": 18,
    "G-9": 450,
    "M-731": 3,
    "P-56": 77,
    "T-1040": 5,
}
ORDERS = {
    "4711": ("shipped", "2026-03-02", 1250.0),
    "4712": ("in production", "2026-03-19", 480.5),
    "5003": ("open", "2026-04-01", 96.0),
    "5120": ("paid", "2026-02-11", 3300.0),
    "6088": ("open", "2026-05-07", 210.0),
    "6101": ("in production", "2026-04-15", 1899.9),
    "7340": ("paid", "2026-01-30", 56.0),
    "7555": ("shipped", "2026-02-20", 725.0),
}
RATES = {"EUR": 1.0, "USD": 1.25, "GBP": 0.8, "CHF": 0.95}  # what a euro is worth
SHIFTS = {
    "Ana": ["press 2", "press 2", "lathe 4", "lathe 4", "mill 1"],
    "Ben": ["saw 3", "saw 3", "saw 3", "off", "off"],
    "Clara": ["mill 1", "off", "press 2", "press 5", "press 5"],
    "David": ["lathe 4", "lathe 4", "off", "saw 3", "press 2"],
    "Erik": ["drill 6", "drill 6", "laser 1", "off", "drill 6"],
    "Farah": ["laser 1", "robot 9", "robot 9", "laser 1", "off"],
    "Greta": ["off", "laser 1", "drill 6", "drill 6", "robot 9"],
    "Hamid": ["robot 9", "press 5", "mill 1", "robot 9", "laser 1"],
}
LOADS = {  # per cent and kW
    "press 2": (82.0, 14.5),
    "press 5": (35.0, 6.1),
    "lathe 4": (64.0, 9.2),
    "mill 1": (91.0, 11.0),
    "saw 3": (20.0, 2.4),
    "drill 6": (48.0, 1.8),
    "laser 1": (73.0, 22.0),
    "robot 9": (55.0, 5.4),
}


@tool
def stock(part: str) -> int:
    """How many pieces of a part are in stock."""
    return _known(STOCK, part, "part")


@tool
def order_info(order: str, about: Literal["status", "due", "total"] = "status") -> str | float:
    """Look up the status of an order, the date when it is due, or its total in EUR."""
    status, due, total = _known(ORDERS, order, "order")
    return {"status": status, "due": due, "total": total}[about]


@tool
def convert_currency(amount: float, source: Currency, target: Currency) -> float:
    """Convert an amount of money from one currency to another."""
    return round(amount / RATES[source] * RATES[target], 2)


@tool
def shift(person: str, day: Day) -> str:
    """Which machine a person works at on a day; `off` if at none."""
    return _known(SHIFTS, person, "person")[
        ["monday", "tuesday", "wednesday", "thursday", "friday"].index(day)
    ]


@tool
def machine_load(machine: str, unit: Literal["percent", "kw"] = "percent") -> float:
    """How busy a machine is, in percent, or how much power it draws, in kW."""
    percent, kilowatts = _known(LOADS, machine, "machine")
    return {"percent": percent, "kw": kilowatts}[unit]


def _known(table: Mapping[str, T], key: str, kind: str) -> T:
    if key not in table:
        raise ToolError(f"there is no {kind} {key}")
    return table[key]
