"""Whether a value has the fields of a rule, and of which types: the schema is the structs of core."""

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final, NamedTuple, cast

import msgspec
from msgspec import inspect
from msgspec.structs import replace

from extauthz.core.policy import Rule
from extauthz.policy_file.strict_yaml import Path, Value


class Fault(NamedTuple):
    """What is wrong with the value at a path."""

    path: Path
    found: str
    expected: str


_RULE: Final = cast("inspect.StructType", inspect.type_info(Rule))
#: A route says what it is called and what it matches.
ROUTE: Final = replace(
    _RULE,
    fields=tuple(
        replace(field, required=field.name in {"name", "match"}) for field in _RULE.fields
    ),
)
#: The default is for every other call, so it says neither.
DEFAULT: Final = replace(
    _RULE,
    fields=tuple(field for field in _RULE.fields if field.name not in {"name", "match"}),
)

_SCALARS: Final[dict[type[inspect.Type], tuple[frozenset[type], str]]] = {
    inspect.StrType: (frozenset({str}), "a string (a number is one in quotes)"),
    inspect.BoolType: (frozenset({bool}), "true or false"),
    inspect.IntType: (frozenset({int}), "a whole number"),
    inspect.FloatType: (frozenset({int, float}), "a number"),
}
_SHOWN_CHARS: Final = 60


def faults(value: Value, kind: inspect.Type, path: Path) -> Iterator[Fault]:
    """Every place where `value` is not a `kind`. None means that msgspec will convert it."""
    match kind:
        case inspect.StructType():
            yield from _struct_faults(value, kind, path)
        case inspect.DictType():
            yield from _dict_faults(value, kind, path)
        case inspect.VarTupleType() | inspect.ListType():
            yield from _list_faults(value, kind.item_type, path)
        case inspect.UnionType():
            if value is not None:
                yield from faults(value, _not_none(kind), path)
        case inspect.EnumType():
            yield from _choice_faults(value, [member.value for member in _members(kind)], path)
        case inspect.LiteralType():
            yield from _choice_faults(value, list(kind.values), path)
        case inspect.AnyType():
            return
        case _:
            types, expected = _SCALARS[type(kind)]
            if type(value) not in types:
                yield Fault(path, shown(value), expected)


def shown(value: Value) -> str:
    """A value as the reader of a message knows it."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "..."


def _struct_faults(value: Value, kind: inspect.StructType, path: Path) -> Iterator[Fault]:
    names = sorted(field.encode_name for field in kind.fields)
    if not isinstance(value, dict):
        yield Fault(path, shown(value), f"a mapping with {', '.join(names)}")
        return
    for name in value.keys() - set(names):
        yield Fault((*path, name), "an unknown key", f"one of {', '.join(names)}")
    for field in kind.fields:
        if field.encode_name in value:
            name = field.encode_name
            yield from faults(value[name], field.type, (*path, name))
        elif field.required:
            yield Fault(path, f"no key {field.encode_name}", "this key")


def _dict_faults(value: Value, kind: inspect.DictType, path: Path) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield Fault(path, shown(value), "a mapping")
        return
    for key, member in value.items():
        yield from faults(key, kind.key_type, (*path, key))
        yield from faults(member, kind.value_type, (*path, key))


def _list_faults(value: Value, item: inspect.Type, path: Path) -> Iterator[Fault]:
    if not isinstance(value, list):
        yield Fault(path, shown(value), "a list")
        return
    for index, member in enumerate(value):
        yield from faults(member, item, (*path, index))


def _choice_faults(value: Value, choices: list[Any], path: Path) -> Iterator[Fault]:
    """Types count too: `true` is not 1."""
    if not any(type(value) is type(one) and value == one for one in choices):
        words = ", ".join(str(choice) for choice in choices)
        several = "one of " if len(choices) > 1 else ""
        yield Fault(path, shown(value), several + words)


def _not_none(kind: inspect.UnionType) -> inspect.Type:
    return next(one for one in kind.types if not isinstance(one, inspect.NoneType))


def _members(kind: inspect.EnumType) -> list[Enum]:
    return list(kind.cls)
