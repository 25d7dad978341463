"""Row expressions of the config: Python syntax read by ``ast``, never ``eval``.

Logic is SQL's: a comparison with a missing value (null or NaN) is missing; rules pass on missing
(CHECK), ``where`` drops it (WHERE). All arithmetic is float64, so that it cannot overflow and is
the same for every batch; a division by zero is missing. Names that are no Python identifiers are
written in backquotes: ``` `Annual Income (k$)` > 20 ```.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from keyword import iskeyword

import pyarrow as pa

from segpipe.errors import ConfigError
from segpipe.lake.evaluate import COMPARISONS, Node, Rows, evaluate

_QUOTED = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|`([^`]+)`""")
_ALLOWED = "names, literals, + - * /, comparisons, and, or, not, in, is None, abs(), len()"
_PLACE = re.compile(r"_segpipe_name_([0-9]+)_")
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
}


@dataclass(frozen=True, slots=True)
class Expr:
    """A checked expression: plain data, picklable; ``text`` bears the source's own names."""

    text: str
    node: Node

    @property
    def columns(self) -> frozenset[str]:
        """The source columns that it reads."""
        return frozenset(_names(self.node))

    def evaluate(self, batch: pa.RecordBatch, untyped: bool = False) -> pa.Array:
        """The value of each row: bool for conditions.

        ``untyped``: the table knows no types (csv), so text compared with a number is read as one
        and counts as missing where it is none. Otherwise that comparison is ConfigError 78.
        """
        value = evaluate(self.node, Rows(batch, untyped, self.text))
        if isinstance(value, pa.Scalar):
            return pa.repeat(value, batch.num_rows)
        return value

    def condition(self, batch: pa.RecordBatch, untyped: bool = False) -> pa.Array:
        """``evaluate`` of what must be a condition; ConfigError 78 if it is a value."""
        value = self.evaluate(batch, untyped)
        if pa.types.is_null(value.type):
            return value.cast(pa.bool_())
        if not pa.types.is_boolean(value.type):
            raise ConfigError(
                f"expression {self.text!r} gives {value.type}, not yes or no.",
                "compare it with something, for example '> 0'.",
            )
        return value


def compile_expr(
    text: str, names: Mapping[str, str], columns: Collection[str] | None = None
) -> Expr:
    """Read ``text``; ``names`` maps our column names to the source's, others are the source's own.

    ConfigError 78 for bad syntax, for anything but the documented operators, and, where ``columns``
    (the source's) is given, for an unknown name.
    """
    quoted: list[str] = []

    def hide(match: re.Match[str]) -> str:
        if match.group(2) is None:
            return match.group(0)
        quoted.append(match.group(2))
        return f"_segpipe_name_{len(quoted) - 1}_"

    try:
        tree = ast.parse(_QUOTED.sub(hide, text).strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"expression {text!r} cannot be read: {getattr(error, 'msg', error)}.",
            f"Python syntax: {_ALLOWED}; names with blanks in backquotes.",
        ) from error

    def resolve(name: str) -> str:
        place = _PLACE.fullmatch(name)
        own = quoted[int(place.group(1))] if place else name
        found = names.get(own, own)
        if columns is not None and found not in columns:
            known = sorted({*columns, *names})
            near = get_close_matches(own, known, n=1)
            raise ConfigError(
                f"expression {text!r} uses {own!r}; the table has {sorted(columns)}.",
                f"did you mean {near[0]!r}?" if near else "use one of these names.",
            )
        return found

    node = _read(tree, text, resolve)
    return Expr(_render(node), node)


def _refuse(tree: ast.AST, text: str) -> ConfigError:
    return ConfigError(
        f"expression {text!r} uses {ast.unparse(tree)!r}, which is not allowed.",
        f"allowed: {_ALLOWED}.",
    )


def _read(  # noqa: PLR0911, PLR0912 - one branch per kind of syntax
    tree: ast.expr, text: str, resolve: Callable[[str], str]
) -> Node:
    def read(part: ast.expr) -> Node:
        return _read(part, text, resolve)

    match tree:
        case ast.Name(id=name):
            return ("name", resolve(name))
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return ("literal", value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ("not", read(operand))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = read(operand)
            if inner[0] == "literal" and isinstance(inner[1], int | float):
                return ("literal", -inner[1])
            return ("negate", inner)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return read(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return (_ARITHMETIC[type(op)], read(left), read(right))
        case ast.BoolOp(op=op, values=terms):
            word = "and" if isinstance(op, ast.And) else "or"
            node = read(terms[0])
            for term in terms[1:]:
                node = (word, node, read(term))
            return node
        case ast.Call(func=ast.Name(id="abs" | "len" as name), args=[argument], keywords=[]):
            return (name, read(argument))
        case ast.Compare(left=left, ops=ops, comparators=others):
            pairs = zip([left, *others[:-1]], ops, others, strict=True)
            links = [_link(a, op, b, text, read) for a, op, b in pairs]
            node = links[0]
            for link in links[1:]:
                node = ("and", node, link)
            return node
        case _:
            raise _refuse(tree, text)


def _link(
    left: ast.expr, op: ast.cmpop, right: ast.expr, text: str, read: Callable[[ast.expr], Node]
) -> Node:
    match op, right:
        case ((ast.Is() | ast.IsNot()), ast.Constant(value=None)):
            node: Node = ("missing", read(left))
            return node if isinstance(op, ast.Is) else ("not", node)
        case ((ast.In() | ast.NotIn()), (ast.List(elts=parts) | ast.Tuple(elts=parts))):
            values = [read(part) for part in parts]
            if any(value[0] != "literal" or value[1] is None for value in values):
                raise ConfigError(
                    f"expression {text!r}: 'in' takes a list of literals.",
                    "for example: country in ('France', 'Spain').",
                )
            node = ("in", read(left), *values)
            return node if isinstance(op, ast.In) else ("not", node)
    if type(op) not in COMPARISONS:
        raise _refuse(ast.Compare(left, [op], [right]), text)
    sides = (read(left), read(right))
    if ("literal", None) in sides:
        raise ConfigError(
            f"expression {text!r} compares with None.", "write 'is None' or 'is not None'."
        )
    return (COMPARISONS[type(op)], *sides)


_SIGNS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "and": "and", "or": "or",
    "equal": "==", "not_equal": "!=", "less": "<", "less_equal": "<=", "greater": ">",
    "greater_equal": ">=",
}  # fmt: skip


def _plain(name: str) -> bool:
    # ast folds non-ASCII identifiers (NFKC): only plain ones survive unquoted.
    return name.isidentifier() and name.isascii() and not iskeyword(name)


def _render(node: Node) -> str:  # noqa: PLR0911 - one return per operator
    match node:
        case ("name", str(name)):
            return name if _plain(name) else f"`{name}`"
        case ("literal", value):
            # repr(inf) is a name; 1e999 reads as inf again.
            return repr(value).replace("inf", "1e999") if isinstance(value, float) else repr(value)
        case ("not", inner):
            return f"(not {_render(inner)})"
        case ("negate", inner):
            return f"(-{_render(inner)})"
        case ("missing", inner):
            return f"({_render(inner)} is None)"
        case ("in", inner, *values):
            return f"({_render(inner)} in [{', '.join(_render(value) for value in values)}])"
        case ("abs" | "len" as name, inner):
            return f"{name}({_render(inner)})"
    sign, left, right = node
    return f"({_render(left)} {_SIGNS[sign]} {_render(right)})"


def _names(node: Node) -> list[str]:
    if node[0] == "name":
        return [node[1]]
    return [name for part in node[1:] if isinstance(part, tuple) for name in _names(part)]
