"""Small changes of a source, each of which makes another program: a comparison turned, a number one more.

What people read is left alone: docstrings, annotations, messages of errors. So are decorators, for a kernel without its
own is no kernel.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
# Calls that tell somebody something; without them nothing is computed otherwise.
TOLD = ("warn", "debug", "info", "show_note", "tell")


@dataclass(frozen=True)
class Mutation:
    """One change of a source.

    Parameters
    ----------
    kind : str
    line : int
        Where it begins, from 1.
    start, stop : int
        Bytes of the source that are replaced.
    before, after : str
        What stands there, and what is put there.
    """

    kind: str
    line: int
    start: int
    stop: int
    before: str
    after: str

    def apply(self, source: str) -> str:
        """The source with the change."""
        data = source.encode()
        return (data[: self.start] + self.after.encode() + data[self.stop :]).decode()

    def diff(self, source: str) -> list[str]:
        """The lines that change, first as they are."""
        lines = difflib.unified_diff(source.splitlines(), self.apply(source).splitlines(), n=0, lineterm="")
        return [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def find(source: str, functions: tuple[str, ...] = (), returns: bool = True) -> list[Mutation]:
    """All mutations of a source, in the order of their places.

    Parameters
    ----------
    source : str
    functions : tuple of str
        Those to look into; all of the source if empty.
    returns : bool
        Whether a value that is returned may be left out, which no compiled function can be without.
    """
    tree = ast.parse(source)
    roots: list[ast.AST] = [tree]
    if functions:
        roots = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in functions]
    offsets = [0]
    for line in source.encode().splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    found = []
    for root in roots:
        for node in _nodes(root):
            for kind, place, text in _changes(node):
                if kind == "return" and not returns:
                    continue
                start = offsets[place.lineno - 1] + place.col_offset
                stop = offsets[(place.end_lineno or 0) - 1] + (place.end_col_offset or 0)
                before = source.encode()[start:stop].decode()
                if before != text:
                    found.append(Mutation(kind, place.lineno, start, stop, before, text))
    return sorted(found, key=lambda one: (one.start, one.stop, one.after))


def _nodes(root: ast.AST) -> Iterator[ast.AST]:
    """What is below a node, without what people read."""
    yield root
    unchecked = isinstance(root, ast.keyword) and root.arg == "strict"  # of zip: another check of what is checked
    if unchecked or isinstance(root, ast.JoinedStr | ast.Raise):
        return
    for name, value in ast.iter_fields(root):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        children = value if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, ast.AST) and not _is_said(child):
                yield from _nodes(child)


def _is_said(node: ast.AST) -> bool:
    """Whether a statement is a docstring, is for the reader of types, or tells somebody something."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    if not isinstance(node, ast.Expr):
        return False
    call = node.value
    return isinstance(call, ast.Constant) or (isinstance(call, ast.Call) and ast.unparse(call.func).endswith(TOLD))


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.expr | ast.stmt, str]]:
    """What one node can become: the kind of change, the node that is replaced, and the text in its place."""
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                ops = [*node.ops[:at], other(), *node.ops[at + 1 :]]
                yield "comparison", node, _text(ast.Compare(node.left, ops, node.comparators))
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC and not _has_text(node):
        yield "arithmetic", node, _text(ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right))
    elif isinstance(node, ast.AugAssign) and type(node.op) in ARITHMETIC and not _has_text(node):
        yield "arithmetic", node, ast.unparse(ast.AugAssign(node.target, ARITHMETIC[type(node.op)](), node.value))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield "constant", node, str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield "constant", node, f"{node.value + 1!r}"
        yield "constant", node, f"({node.value - 1!r})"
    elif isinstance(node, ast.BoolOp):
        other_op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "boolean", node, _text(ast.BoolOp(other_op, node.values))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "boolean", node, _text(node.operand)
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        yield "condition", node.test, f"(not ({ast.unparse(node.test)}))"
    elif isinstance(node, ast.comprehension):
        for test in node.ifs:
            yield "condition", test, f"(not ({ast.unparse(test)}))"
    elif isinstance(node, ast.Return) and ast.unparse(node.value or node) not in ("None", "False", "return"):
        assert node.value is not None
        yield "return", node.value, "None"
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "call", node, "pass"
    elif isinstance(node, ast.Slice):
        yield from _slices(node)


def _slices(node: ast.Slice) -> Iterator[tuple[str, ast.expr, str]]:
    """Bounds moved by one; a constant in a bound is moved as a constant already."""
    for bound in (node.lower, node.upper):
        if bound is not None and not isinstance(bound, ast.Constant):
            for sign in "+-":
                yield "slice", bound, f"({ast.unparse(bound)} {sign} 1)"


def _text(node: ast.expr) -> str:
    """Source of an expression that may stand within another one."""
    return f"({ast.unparse(node)})"


def _has_text(node: ast.BinOp | ast.AugAssign) -> bool:
    """Whether text is put together, or types are named: both can only fail."""
    return any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str | None))
        for part in ast.walk(node)
    )
