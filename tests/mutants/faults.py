"""The faults: replacements of a piece of source text, found in its syntax tree. Each is what a slip of the hand could leave behind."""

from __future__ import annotations

import ast
from dataclasses import dataclass

COMPARED = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.In: "not in", ast.NotIn: "in"}
COMPARED |= {ast.Is: "is not", ast.IsNot: "is"}
COMPUTED = {ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "//", ast.Pow: "*"}
COMPUTED |= {ast.BitAnd: "|", ast.BitOr: "&", ast.LShift: ">>", ast.RShift: "<<"}
SWAPPED = {
    **{"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor", "mean": "sum", "sum": "mean"},
    **{"zeros_": "ones_", "zeros": "ones", "ones": "zeros", "issubset": "issuperset", "cdf": "sf", "sf": "cdf", "union": "intersection"},
    **{"append": "count", "add": "discard", "tanh": "sigmoid", "gelu": "relu", "softmax": "log_softmax"},
}
SKIPPED = frozenset({"layer_norm", "sorted", "abs", "sqrt", "log", "gelu", "clip", "clamp", "set", "unique"})
"""Calls that a fault leaves out: f(x, ...) becomes x."""
SILENT = frozenset({"debug", "info", "warning", "error", "print", "_say", "progress"})
"""Calls whose text is for people; no fault is put into them."""


@dataclass(frozen=True)
class Fault:
    """Replace columns [start, end) (line, column; columns in UTF-8 bytes) of a file by `new`."""

    path: str
    start: tuple[int, int]
    end: tuple[int, int]
    old: str
    new: str
    within: str
    """The function or class it lies in, dotted."""

    @property
    def line(self) -> int:
        return self.start[0]

    @property
    def key(self) -> str:
        """What names the fault as long as its function's text stays: no line number."""
        return f"{self.path} {self.within}: {' '.join(self.old.split())} -> {' '.join(self.new.split())}"

    def applied(self, source: str) -> str:
        """The file's text with the fault in it."""
        lines = source.encode().splitlines(keepends=True)
        before = b"".join(lines[: self.start[0] - 1]) + lines[self.start[0] - 1][: self.start[1]]
        after = lines[self.end[0] - 1][self.end[1] :] + b"".join(lines[self.end[0] :])
        return (before + self.new.encode() + after).decode()

    def valid(self, source: str) -> bool:
        """Whether Python still reads the file: a fault that stops at its import says nothing about tests."""
        try:
            compile(self.applied(source), "fault", "exec")
        except (SyntaxError, ValueError):
            return False
        return True


def faults(path: str, source: str) -> list[Fault]:
    """Every fault of a file, in the order of its text; a few leave no valid Python."""
    found = _Finder(path, source)
    found.visit(ast.parse(source))
    unique = {(fault.start, fault.end, fault.new): fault for fault in found.faults}
    return sorted(unique.values(), key=lambda fault: (fault.start, fault.new))


class _Finder(ast.NodeVisitor):
    def __init__(self, path: str, source: str) -> None:
        self.path, self.lines = path, source.encode().splitlines(keepends=True)
        self.faults: list[Fault] = []
        self.names: list[str] = []

    def _text(self, node: ast.AST) -> str:
        """As ast.get_source_segment, which splits the whole file at every call."""
        first, last = node.lineno - 1, node.end_lineno - 1  # type: ignore[attr-defined]
        start, end = node.col_offset, node.end_col_offset  # type: ignore[attr-defined]
        if first == last:
            return self.lines[first][start:end].decode()
        return b"".join([self.lines[first][start:], *self.lines[first + 1 : last], self.lines[last][:end]]).decode()

    def _put(self, node: ast.AST, new: str) -> None:
        start, end = (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)  # type: ignore[attr-defined]
        self.faults.append(Fault(self.path, start, end, self._text(node), new, ".".join(self.names) or "<module>"))

    def _around(self, left: ast.AST, right: ast.AST, operator: str, whole: ast.AST) -> None:
        """`left operator right` in place of the whole; brackets keep the meaning of what stands around."""
        self._put(whole, f"(({self._text(left)}) {operator} ({self._text(right)}))")

    # What no fault is put into -------------------------------------------------------------------------------------------

    def visit_Import(self, node: ast.Import) -> None:
        return

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return

    def visit_Raise(self, node: ast.Raise) -> None:
        return

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        return

    def visit_Assert(self, node: ast.Assert) -> None:
        return

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        return

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.names.append(node.name)
        if not isinstance(node, ast.ClassDef):
            for default in (*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)):
                self.visit(default)
        for statement in node.body:
            self.visit(statement)
        self.names.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _definition

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Name) and target.id.startswith("__") for target in node.targets):
            return
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if self._text(node.test) == "TYPE_CHECKING":
            return
        self._put(node.test, f"not ({self._text(node.test)})")
        self.generic_visit(node)

    # What is changed -----------------------------------------------------------------------------------------------------

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._put(node.test, f"not ({self._text(node.test)})")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if len(node.ops) == 1 and type(node.ops[0]) in COMPARED:
            self._around(node.left, node.comparators[0], COMPARED[type(node.ops[0])], node)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        text = isinstance(node.left, ast.JoinedStr | ast.Constant) and isinstance(getattr(node.left, "value", ""), str)
        if not text and type(node.op) in COMPUTED:
            self._around(node.left, node.right, COMPUTED[type(node.op)], node)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = " or " if isinstance(node.op, ast.And) else " and "
        self._put(node, "(" + other.join(f"({self._text(value)})" for value in node.values) + ")")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self._put(node, f"({self._text(node.operand)})")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._put(node, str(not value))
        elif isinstance(value, int):
            self._put(node, str(value + 1))
        elif isinstance(value, float):
            self._put(node, repr(value * 2 if value else 1.0))

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in SILENT:
            return
        if name in SWAPPED:
            function = self._text(node.func)
            self._put(node.func, function[: len(function) - len(name)] + SWAPPED[name])
        if name == "sigmoid":
            self._put(node, f"(1 - {self._text(node)})")
        if name in SKIPPED and node.args and not isinstance(node.args[0], ast.Starred | ast.GeneratorExp):
            self._put(node, f"({self._text(node.args[0])})")
        if (
            len(node.args) >= 2
            and not any(isinstance(arg, ast.Starred) for arg in node.args[:2])
            and name not in ("isinstance", "getattr", "zip")
        ):
            first, second = node.args[:2]
            if self._text(first) != self._text(second):
                swapped = ast.Tuple(elts=[first, second], ctx=ast.Load())
                swapped.lineno, swapped.col_offset = first.lineno, first.col_offset
                swapped.end_lineno, swapped.end_col_offset = second.end_lineno, second.end_col_offset
                self._put(swapped, f"{self._text(second)}, {self._text(first)}")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node.value, ast.Call):
            name = node.value.func.attr if isinstance(node.value.func, ast.Attribute) else getattr(node.value.func, "id", "")
            if name not in SILENT:
                self._put(node, "pass")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._put(node, "pass")
        if type(node.op) in COMPUTED:
            self._put(node, f"{self._text(node.target)} {COMPUTED[type(node.op)]}= {self._text(node.value)}")
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if isinstance(node.value, ast.Name | ast.Attribute | ast.Call) and self.names and self.names[-1] != "<module>":
            self._put(node.value, "None")
        self.generic_visit(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self._put(node, "break")

    def visit_Break(self, node: ast.Break) -> None:
        self._put(node, "continue")


def sampled(all_faults: list[Fault], number: int, seed: int) -> list[Fault]:
    """`number` faults drawn without repetition by a stable order of their keys, so that other faults in the file change the draw little."""
    import hashlib

    def place(fault: Fault) -> str:
        return hashlib.sha256(f"{seed} {fault.key} {fault.start}".encode()).hexdigest()

    return sorted(sorted(all_faults, key=place)[:number], key=lambda fault: (fault.path, fault.start, fault.new))
