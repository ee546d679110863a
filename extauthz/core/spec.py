"""What every part of a policy is made of."""

import msgspec


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Immutable, and strict about its fields when read from a policy file."""
