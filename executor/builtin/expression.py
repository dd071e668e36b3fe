"""An expression's text as tokens: cut, checked for order, and units bound to their numbers."""

import re
from token import NAME, NUMBER, OP
from tokenize import TokenInfo

from executor.builtin.functions import FUNCTIONS
from executor.errors import ToolError

MAX_TOKENS = 200

_SAME_AS = str.maketrans(
    {"×": "*", "·": "*", "÷": "/", "−": "-", "²": "^2", "³": "^3", "\u00a0": " ", "\u202f": " "}
)
_RESPELLED = {"^": "**", "per": "/", "percent": "%"}
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<date>\d{4}-\d\d-\d\d\b)
    | (?P<number>(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?!(?:to|per|percent)\b)(?P<function>[A-Za-z_][A-Za-z0-9_]*)\s*\(
    | (?P<name>[A-Za-z_°ΔµμΩÅ][A-Za-z0-9_°ΔµμΩÅ]*)
    | (?P<operator>\*\*|[-+*/^()%,])
    )""",
    re.VERBOSE | re.ASCII,
)


def scan(text: str) -> list[TokenInfo]:
    """Cut an expression into numbers, names, operators and functions, which open a parenthesis.

    Raises ToolError for anything else, and for a comma that parts no function's arguments.
    """
    text = text.translate(_SAME_AS).strip()
    tokens: list[TokenInfo] = []
    calls: list[bool] = []  # for every open parenthesis, whether it is a function's
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        kind = str(match.lastgroup) if match else ""
        string = match[kind] if match else ""
        if match is None or (string == "," and not any(calls[-1:])):
            why = ": a comma parts only a function's arguments" if string else ""
            raise ToolError(f"can't read {text[position:].strip()[:20]!r} as arithmetic{why}")
        position = match.end()
        tokens.append(_token(kind, string))
        if _opens(tokens[-1]):
            calls.append(kind == "function")
        elif string == ")":
            del calls[-1:]
        if len(tokens) > MAX_TOKENS:
            raise ToolError(f"the expression has more than {MAX_TOKENS} numbers and operators")
    return tokens


def _token(kind: str, string: str) -> TokenInfo:
    if kind == "date":
        raise ToolError(f"can't calculate with the date {string}")
    if kind == "number":
        return TokenInfo(NUMBER, string.replace(",", ""), (1, 0), (1, 0), "")
    # The minute is a name, min; the function is an operator, min(.
    string = f"{string}(" if kind == "function" else _RESPELLED.get(string, string)
    is_name = kind == "name" and string not in ("/", "%")
    return TokenInfo(NAME if is_name else OP, string, (1, 0), (1, 0), "")


def _opens(token: TokenInfo) -> bool:
    return token.string.endswith("(")


def split_conversion(tokens: list[TokenInfo]) -> tuple[list[TokenInfo], list[TokenInfo] | None]:
    """Part `X to UNIT` into X and UNIT; UNIT is None where nothing is to be converted."""
    for at in range(len(tokens) - 1, -1, -1):
        if _is_conversion(tokens, at):
            before = tokens[:at]
            if sum(map(_opens, before)) > sum(token.string == ")" for token in before):
                word = tokens[at].string
                raise ToolError(f"{word!r} converts a whole expression, not a part in parentheses")
            return before, tokens[at + 1 :]
    return tokens, None


def _is_conversion(tokens: list[TokenInfo], at: int) -> bool:
    """Whether the token is the word `to`, or `in` where it can't be the inch."""
    if tokens[at].string != "in" or at in (0, len(tokens) - 1):
        return tokens[at].string == "to"
    before, after = tokens[at - 1], tokens[at + 1]
    follows_quantity = before.string in (")", "%") or _ends_unit(tokens, at)
    to_unit = after.type == NAME and after.string != "to"
    return after.string == "%" or (follows_quantity and to_unit)


def check_order(tokens: list[TokenInfo]) -> None:
    """Refuse what pint's tree builder would guess at: it expects a well-formed expression."""
    complete, depth = False, 0
    for token in tokens:
        text, opens = token.string, _opens(token)
        unknown = opens and text != "(" and text[:-1] not in FUNCTIONS
        if (token.type == NUMBER or opens) and complete:
            # Behind a number, `m (` is a unit and a parenthesis.
            raise ToolError(f"an operator is missing before {'(' if unknown else text!r}")
        if unknown:
            known = ", ".join(FUNCTIONS)
            raise ToolError(f"{text[:-1][:40]!r} is not a known function; there are {known}")
        if token.type == OP and not opens and text not in ("+", "-") and not complete:
            raise ToolError(f"a number is missing before {text!r}")
        depth += opens - (text == ")")
        if depth < 0:
            raise ToolError("a ')' has no '(' before it")
        complete = token.type != OP or text in (")", "%")
    if depth:
        raise ToolError("a '(' is not closed")
    if not complete:
        last = f" after {tokens[-1].string!r}" if tokens else ""
        raise ToolError(f"a number is missing{last}")


def enclose_calls(tokens: list[TokenInfo]) -> list[TokenInfo]:
    """Write `max(1, 2)` as `(max (1, 2))`, where max is a prefix operator as a minus is.

    The outer parentheses are for ** behind the call, which would bind tighter than the prefix.
    """
    enclosed: list[TokenInfo] = []
    calls: list[bool] = []  # for every open parenthesis, whether it is a function's
    for token in tokens:
        called = _opens(token) and token.string != "("
        if called:
            enclosed += [_token("operator", "("), token, _token("operator", "(")]
        else:
            enclosed.append(token)
        if _opens(token):
            calls.append(called)
        elif token.string == ")" and calls.pop():
            enclosed.append(token)
    return enclosed


def bind_units(tokens: list[TokenInfo]) -> list[TokenInfo]:
    """Make a unit stick to its number: the division inside `50 km/h` becomes `per`."""
    bound: list[TokenInfo] = []
    for at, token in enumerate(tokens):
        in_unit = token.string in ("*", "/") and tokens[at + 1].type == NAME
        if token.string == "%":
            bound += [_token("operator", "per"), _token("number", "100")]
        elif not in_unit or not _ends_unit(tokens, at):
            bound.append(token)
        elif token.string == "/":
            bound.append(token._replace(string="per"))
    return bound


def _ends_unit(tokens: list[TokenInfo], at: int) -> bool:
    """Whether a unit, possibly with an exponent, ends right before the token."""
    before = at - 1
    if tokens[before].type == NUMBER:
        before -= 2 if tokens[before - 1].string in ("+", "-") else 1
        if before < 1 or tokens[before].string != "**":
            return False
        before -= 1
    return before >= 0 and tokens[before].type == NAME
