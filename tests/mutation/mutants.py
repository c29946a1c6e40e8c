"""Small mistakes that a programmer could make, put into a module one at a time.

Texts for people are left alone: docstrings, help, summaries, messages of errors, f-strings, whatever has a space. Their
words are read, not tested. An encoding is not left out: the machine's own is UTF-8 wherever the tests run.
"""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Change = Callable[[ast.AST], "ast.AST | None"]

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
NEVER_NONE = {None, "help", "describe", "summary", "encoding"}
ANNOTATIONS = {"annotation", "returns", "type_params", "decorator_list"}


@dataclass(frozen=True)
class Mutant:
    """A module with one mistake."""

    line: int
    statement: range  # the lines of the statement around it, without those inside of a compound one
    description: str
    tree: ast.Module
    function: str  # the function or method in whose body it is, "" outside of them


def statements(tree: ast.AST, lines: range = range(0)) -> Iterator[tuple[ast.AST, range]]:
    """Yield everything in a tree with the lines of the innermost statement around it."""
    for node in ast.iter_child_nodes(tree):
        inner = lines_of(node) if isinstance(node, ast.stmt) else lines
        yield node, inner
        yield from statements(node, inner)


def lines_of(statement: ast.stmt) -> range:
    """Return the lines of a statement; of a compound one those before its body."""
    match statement:
        case ast.FunctionDef(body=[first, *_]) | ast.ClassDef(body=[first, *_]):
            end = first.lineno
        case ast.If(body=[first, *_]) | ast.For(body=[first, *_]) | ast.While(body=[first, *_]):
            end = first.lineno
        case ast.With(body=[first, *_]) | ast.Try(body=[first, *_]):
            end = first.lineno
        case _:
            end = (statement.end_lineno or statement.lineno) + 1
    return range(statement.lineno, max(end, statement.lineno + 1))


def functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Yield everything in the bodies of a module's functions and methods, with the function's qualified name."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef):
            for inner in statement.body:
                yield from ((node, prefix + statement.name) for node in ast.walk(inner))
        elif isinstance(statement, ast.ClassDef):
            yield from functions(statement.body, f"{prefix}{statement.name}.")


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    original = ast.parse(source)
    inside, around = dict(functions(original.body)), dict(statements(original))
    for number, (node, _) in enumerate(places(original)):
        for description, change in changes(node):
            tree = copy.deepcopy(original)
            target = list(places(tree))[number]
            replace(target, change(target[0]))
            ast.fix_missing_locations(tree)
            yield Mutant(node.lineno, around[node], description, tree, inside.get(node, ""))


Slot = tuple[ast.AST, str, "int | None"]  # parent, field, index in the field


def places(tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, Slot]]:
    """Yield what may be changed, and where it hangs, always in the same order."""
    for name, value in ast.iter_fields(tree):
        if name in ANNOTATIONS:
            continue
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or is_text_for_people(child):
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield child, (tree, name, index if isinstance(value, list) else None)
            yield from places(child)


def is_text_for_people(child: ast.AST) -> bool:
    """Tell what nobody tests word by word, and what does not run."""
    match child:
        case ast.Raise(exc=ast.Call()) | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.keyword(arg="help" | "describe" | "summary"):
            return True
        case ast.Constant(value=str() as text):
            return " " in text
        case _:
            return False


def changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """Yield the mistakes that can be made at one place."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in SWAPPED:
            yield f"{name(operator)} -> {SWAPPED[type(operator)].__name__}", swap_comparison
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) if type(operator) in SWAPPED:
            yield f"{name(operator)} -> {SWAPPED[type(operator)].__name__}", swap
        case ast.BinOp(op=ast.BitOr()):
            yield "a | b -> a", lambda found: getattr(found, "left", None)
        case ast.UnaryOp(op=ast.Not()):
            yield "not a -> a", lambda found: getattr(found, "operand", None)
        case ast.Constant(value=bool() | int() | float() | str() as value):
            other = another(value)
            yield f"{value!r} -> {other!r}", lambda _: ast.Constant(other)
        case ast.If() | ast.IfExp():
            yield "if a -> if not a", negate
        case ast.Return(value=ast.expr() as value) if not is_none(value):
            yield "return a -> return None", lambda _: ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            yield "call left out", lambda _: ast.Pass()
        case ast.Call(keywords=keywords):
            for index, keyword in enumerate(keywords):
                if keyword.arg not in NEVER_NONE and not is_none(keyword.value):
                    yield f"{keyword.arg}=None", without(index)
        case _:
            pass


def another(value: bool | float | str) -> bool | float | str:
    """Return a different value of the same type."""
    if isinstance(value, bool):
        return not value
    return f"{value}XX" if isinstance(value, str) else value + 1


def name(node: ast.AST) -> str:
    """Name an operator."""
    return type(node).__name__


def is_none(node: ast.AST) -> bool:
    """Tell whether it is the word None."""
    return isinstance(node, ast.Constant) and node.value is None


def swap(node: ast.AST) -> ast.AST:
    """Put the opposite operator."""
    assert isinstance(node, ast.BoolOp | ast.BinOp)
    setattr(node, "op", SWAPPED[type(node.op)]())  # noqa: B010 - one of two types, which mypy cannot pair
    return node


def swap_comparison(node: ast.AST) -> ast.AST:
    """Put the opposite comparison."""
    assert isinstance(node, ast.Compare)
    opposite = SWAPPED[type(node.ops[0])]()
    assert isinstance(opposite, ast.cmpop)
    node.ops = [opposite]
    return node


def negate(node: ast.AST) -> ast.AST:
    """Turn a condition around."""
    assert isinstance(node, ast.If | ast.IfExp)
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return node


def without(index: int) -> Change:
    """Return what gives None for a keyword argument."""

    def change(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.Call)
        node.keywords[index].value = ast.Constant(None)
        return node

    return change


def replace(place: tuple[ast.AST, Slot], new: ast.AST | None) -> None:
    """Hang ``new`` where the old node was."""
    _, (parent, field, index) = place
    if index is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[index] = new
