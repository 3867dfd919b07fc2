"""YAML as this laboratory reads and writes it: one loader of every file and of `--set`, strict where YAML would lose or change something.

On top of YAML 1.1 (PyYAML's safe loader, anchors and merges included) it refuses, with line and remedy: a key given twice, keys that YAML
reads as true, false or null (`on:`, `no:`), a key without a space behind its colon (`{document:1}`), and numbers in another base or with
underscores (`010`, `1:30`, `0x10`, `1_0`). `1e-3` is a number here, as in YAML 1.2.
What is written (`yaml_text`) has quotes where the loader would read a text as something else, or refuse it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from fila_lab.config.base import ConfigError

_EXPONENT = re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$")
"""Floats that YAML 1.1 takes for text: without a dot, or without a sign in the exponent."""
_OCTAL = re.compile(r"^[-+]?0[0-9_]+$")
_ODD = re.compile(r"^[-+]?(0[xb].*|.*_.*)$")
"""Whole numbers and fractions in base 16 or 2, or with underscores: who writes an arm's name so does not mean a number."""
_GLUED = re.compile(r"^([^:]+):(\S.*)$", re.DOTALL)
"""A key and a value without a space between them, which are one text."""
_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")
"""What YAML takes for the end of a line, or drops, unless it is escaped."""
_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_SEXAGESIMAL = re.compile(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$")


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as a mapping.

    Raises:
        ConfigError: missing, a folder, unreadable, not YAML, no mapping, or something in it that YAML would read as something else.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder, not a YAML file; give the file")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give a readable YAML file in UTF-8") from error
    content = parse_yaml(text, str(path))
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise ConfigError(f"{path}: expected keys and values, found {found}; see the shipped presets and experiments/")
    return content


def parse_yaml(text: str, source: str) -> Any:
    """What a YAML text says; `source` names it in messages.

    Raises:
        ConfigError: as in `read_yaml`.
    """
    import yaml

    try:
        return yaml.load(text, Loader=_loader())
    except _Refused as error:
        raise ConfigError(f"{source}{_line(error.line, text)}: {error}") from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax(error, text, source)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{source}: not valid YAML: {reason}; mend it there") from error


def yaml_text(content: Any, flat_lists: bool = False, **options: Any) -> str:
    """YAML that `parse_yaml` reads as this very content, in its order. flat_lists: each list in one line; options: of `yaml.dump`."""
    import yaml

    return str(yaml.dump(content, Dumper=_dumper(flat_lists), **{"sort_keys": False, "allow_unicode": True, **options}))


@functools.cache
def _dumper(flat_lists: bool) -> Any:
    """The dumper class; it quotes all texts that the loader takes for numbers, or refuses."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def represent_scalar(self, tag: str, value: Any, style: str | None = None) -> Any:
            if tag == _TEXT and _BREAKS.search(value):
                style = '"'
            elif tag == _TEXT and any(kind.match(value) for kind in (_EXPONENT, _OCTAL, _ODD, _SEXAGESIMAL, _GLUED)):
                style = "'"
            return super().represent_scalar(tag, value, style)

        def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:
            return super().represent_sequence(tag, sequence, True if flat_lists else flow_style)

    return Dumper


class _Refused(Exception):
    """What the loader will not read: a message with its remedy, and the line, from 0."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@functools.cache
def _loader() -> Any:
    """The loader class; built on first use, for yaml takes time to import."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):
        def get_single_data(self) -> Any:
            node = self.get_single_node()
            if node is None:
                return None
            _check(node, (), set())
            return self.construct_document(node)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            # A mapping that is merged elsewhere has its own turn, with its own keys: what a merge brings is overridden, not given twice.
            if not getattr(node, "checked", False):
                _check_keys(node, [key.value if key.tag == _MERGE else self.construct_object(key, deep=True) for key, _ in node.value])
                node.checked = True
            found: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
            return found

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))
    return Loader


def _check(node: Any, above: tuple[int, ...], seen: set[int]) -> None:
    """Refuse plain scalars that are read in another base, and anchors that hold themselves."""
    if id(node) in above:
        raise _Refused("an anchor stands inside itself; write the value out", node.start_mark.line)
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node.value, str):
        if node.style is None or node.style == "":
            _check_number(node)
        return
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            _check(part, (*above, id(node)), seen)


def _check_number(node: Any) -> None:
    text, kind = node.value, node.tag.rpartition(":")[2]
    if _OCTAL.match(text) and text.strip("+-0_"):
        plain = text.replace("_", "").lstrip("+-").lstrip("0")
        sign = "-" if text.startswith("-") else ""
        reads = f"base 8, which makes it {int(text.replace('_', ''), 8)}" if kind == "int" else "text"
        remedy = f"write {sign}{plain}, or quote it if it is text"
        raise _Refused(f"{text} has a leading zero, and YAML reads it as {reads}; {remedy}", node.start_mark.line)
    if kind in ("int", "float") and _SEXAGESIMAL.match(text):
        raise _Refused(f'{text} is read in base 60 by YAML; write the number out, or quote it: "{text}"', node.start_mark.line)
    if kind in ("int", "float") and _ODD.match(text):
        plain = text.replace("_", "")
        number = int(plain, 0) if kind == "int" else plain
        raise _Refused(f'{text} is read as {number} by YAML; write {number}, or quote it if it is text: "{text}"', node.start_mark.line)


def _check_keys(node: Any, keys: list[Any]) -> None:
    """Refuse a mapping's keys that YAML reads as something else, or that stand there twice."""
    first: dict[Any, int] = {}
    for (key_node, _), key in zip(node.value, keys, strict=True):
        line, written = key_node.start_mark.line, key_node.value
        plain = isinstance(written, str) and not key_node.style
        if plain and (isinstance(key, bool) or key is None):
            raise _Refused(f'the key {written or "(nothing)"} is read as {_named(key)} by YAML; quote it: "{written}":', line)
        if plain and (glued := _GLUED.match(written)):
            remedy = f"write `{glued[1]}: {glued[2]}`, or quote the key if the colon belongs to it"
            raise _Refused(f"all of `{written}` is one key to YAML, for there is no space behind the colon; {remedy}", line)
        if not isinstance(key, Hashable):
            raise _Refused("a key is a list or a mapping; keys are words", line)
        if key in first:
            shown = written if isinstance(written, str) else key
            before = f"first in line {first[key] + 1}"
            raise _Refused(f"the key {shown!r} stands there twice ({before}), and one would be lost; remove one", line)
        first[key] = line


def _named(key: bool | None) -> str:
    return "null" if key is None else "true" if key else "false"


def _line(line: int, text: str) -> str:
    """`, line 3`, where there is more than one."""
    return f", line {line + 1}" if "\n" in text.strip() else ""


def _syntax(error: Any, text: str, source: str) -> str:
    """A syntax error in one line; of a tab before the place, that is said first."""
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark is not None else 0
    lines = text.splitlines()
    near = [number for number in (line, line - 1) if 0 <= number < len(lines)]
    tabbed = next((number for number in near if "\t" in lines[number]), None)
    if tabbed is not None:
        return f"{source}{_line(tabbed, text)}: there is a tab, and YAML is indented with spaces; replace the tab by spaces"
    problem = " ".join(str(part) for part in (error.context, error.problem) if part)
    glued = next((number for number in near if re.match(r"^\s*[\w.-]+:[^\s:]", lines[number])), None)
    if glued is not None:
        return f"{source}{_line(glued, text)}: no space behind the colon in `{lines[glued].strip()}`; write `key: value`"
    return f"{source}{_line(line, text)}: not valid YAML: {problem}; mend it there"
