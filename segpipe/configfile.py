"""Config files: YAML over YAML, one layering rule, every problem listed at once.

Precedence: ``--set`` > environment (``SEGPIPE__FIT__K=8``) > file > the files it ``extends`` >
defaults. Unknown keys are refused with the nearest known one.
"""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from segpipe.config import Config
from segpipe.errors import ConfigError, FlagError, InputMissing

ENV_PREFIX = "SEGPIPE__"

LATER: Mapping[str, Mapping[str, frozenset[str]]] = {
    "source": {"format": frozenset({"iceberg"})},
    "target": {"format": frozenset({"iceberg"})},
    "report": {"naming": frozenset({"llm"})},
}
"""Values of the public contract that a later release brings: refused by name, not as typos."""


def load(
    path: str | Path, overrides: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> Config:
    """Read, layer and validate a config file.

    Raises
    ------
    InputMissing
        The file is absent.
    ConfigError
        Anything else, every problem in one message.
    """
    tree = read_yaml(Path(path), ())
    for key, value in sorted((os.environ if environ is None else environ).items()):
        if key.startswith(ENV_PREFIX):
            _set(tree, key[len(ENV_PREFIX) :].lower().split("__"), _scalar(value, key), key)
    for item in overrides:
        dotted, equals, value = item.partition("=")
        if not equals:
            raise FlagError(f"--set {item!r} is no key=value.", "Write it as --set fit.k=8.")
        _set(tree, _split(dotted), _scalar(value, dotted), dotted)
    return validate(tree, str(path))


def validate(tree: Mapping[str, Any], origin: str = "config") -> Config:
    """Check a config tree; ConfigError lists every problem."""
    tree = copy.deepcopy(dict(tree))
    problems = _later(tree)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        seen = {p.split(":")[0] for p in problems}
        problems += [p for p in _sentences(error.errors()) if p.split(":")[0] not in seen]
    if problems:
        listed = "\n".join(f"  - {p}" for p in problems)
        raise ConfigError(
            f"{origin} has {len(problems)} problem(s):\n{listed}\n", "See segpipe schema."
        )
    return config


def read_yaml(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """One file with what it extends; paths in ``extends`` are relative to the file."""
    if path.resolve() in seen:
        raise ConfigError(f"{path} extends itself.", "Break the circle of extends.")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputMissing(f"no config file at {path}.", "Give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputMissing(f"config file {path} cannot be read: {error}.") from None
    try:
        tree = yaml.load(text, Loader=_Strict)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds {type(tree).__name__}, not a mapping of sections.")
    parents = tree.pop("extends", [])
    merged: dict[str, Any] = {}
    for parent in [parents] if isinstance(parents, str) else parents:
        _merge(merged, read_yaml(path.parent / parent, (*seen, path.resolve())))
    return _merge(merged, tree)


class _Strict(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice (PyYAML keeps the last one silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(k, deep=True) for k, _ in node.value]  # type: ignore[no-untyped-call]
        doubles = {k for k in keys if keys.count(k) > 1}
        if doubles:
            raise yaml.YAMLError(f"key given twice: {sorted(map(str, doubles))}{node.start_mark}")
        return super().construct_mapping(node, deep)


# A mapping of the user's own names is replaced as a whole when a layer gives it; so is a
# threshold, whose keys exclude one another.
_WHOLE = {"threshold", "columns"}


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(below.get(key), dict) and key not in _WHOLE:
            _merge(below[key], value)
        else:
            below[key] = value
    return below


def _scalar(text: str, key: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"the value of {key} is no YAML: {text!r}.") from None


def _split(dotted: str) -> list[str]:
    # Spark keys and column names hold dots themselves: all after the prefix is one key.
    for prefix in ("engine.spark.", "source.columns."):
        if dotted.startswith(prefix):
            return [*prefix[:-1].split("."), dotted[len(prefix) :]]
    return dotted.split(".")


def _set(tree: dict[str, Any], path: list[str], value: Any, origin: str) -> None:
    node = tree
    for part in path[:-1]:
        child = node.setdefault(part, {})
        if child is None:
            child = node[part] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"{origin}: {part} is a value, not a section.")
        node = child
    if path[-1] in {"contamination", "fdr", "top_n"}:
        node.clear()  # the three exclude one another: an override replaces the file's choice
    node[path[-1]] = value


def _later(tree: Mapping[str, Any]) -> list[str]:
    found = []
    for section, keys in LATER.items():
        values = tree.get(section)
        for key, later in keys.items():
            value = values.get(key) if isinstance(values, Mapping) else None
            if isinstance(value, str) and value in later:
                found.append(f"{section}.{key}: {value!r} is not in this version")
    return found


def _sentences(errors: Iterable[Any]) -> list[str]:
    """One sentence a place: the branches of a union ("auto or a number") are joined."""
    places: dict[str, list[Any]] = {}
    for error in errors:
        # pydantic names the branch of a union as the last part: literal['auto'], constrained-int
        known = [
            p for p in error["loc"] if not re.search(r"^(literal|constrained-|list)\W?", str(p))
        ]
        places.setdefault(".".join(map(str, known)) or "config", []).append(error)
    return [_sentence(place, found) for place, found in places.items()]


def _sentence(place: str, errors: list[Any]) -> str:
    error = errors[0]
    if error["type"] == "extra_forbidden":
        known = _known(error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(known)}"
        return f"{place}: unknown key{hint}"
    if error["type"] == "missing":
        return f"{place}: required, not given"
    message = " or ".join(e["msg"].removeprefix("Value error, ") for e in errors)
    given = error["input"]
    return f"{place}: {message}" + (
        "" if isinstance(given, dict | BaseModel) else f", found {given!r}"
    )


def _known(path: tuple[str | int, ...]) -> list[str]:
    model: Any = Config
    for part in path:
        field = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        if field is None:
            return []
        model = field.annotation
        for inner in getattr(model, "__args__", ()):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return sorted(getattr(model, "model_fields", {}))
