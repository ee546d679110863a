"""Escapes of URLs, HTML, mail and programming languages."""

from html.entities import html5
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.views.points import points_of, text_of
from extauthz_kernels import escapes, unescape

#: TeX commands that begin like an escape of white space. No word is hidden by them: what follows
#: the n, r or t of one ("abla", "ight", "extbf") is none.
_COMMANDS: Final = [
    "nabla",
    "natural",
    "ne",
    "nearrow",
    "neg",
    "neq",
    "newcommand",
    "newenvironment",
    "newline",
    "newpage",
    "newtheorem",
    "ni",
    "nmid",
    "noindent",
    "nolimits",
    "nonumber",
    "normalsize",
    "not",
    "notag",
    "notin",
    "nu",
    "num",
    "nsubseteq",
    "nleq",
    "ngeq",
    "raggedright",
    "raise",
    "ran",
    "rangle",
    "rbrace",
    "rbrack",
    "rceil",
    "re",
    "ref",
    "relax",
    "renewcommand",
    "right",
    "rightarrow",
    "rightharpoonup",
    "rfloor",
    "rho",
    "rm",
    "rmfamily",
    "root",
    "rtimes",
    "rule",
    "rvert",
    "rVert",
    "tab",
    "table",
    "tableofcontents",
    "tabular",
    "tag",
    "tan",
    "tanh",
    "tau",
    "tbinom",
    "text",
    "textbf",
    "textcolor",
    "textit",
    "textrm",
    "textsc",
    "textsf",
    "textstyle",
    "texttt",
    "textwidth",
    "tfrac",
    "th",
    "thanks",
    "theta",
    "thickapprox",
    "thicksim",
    "thinspace",
    "thispagestyle",
    "tilde",
    "times",
    "tiny",
    "title",
    "to",
    "today",
    "top",
    "toprule",
    "triangle",
    "triangleq",
    "tt",
    "twoheadrightarrow",
]


def _hash(name: str) -> int:
    code = escapes.HASH_START
    for char in name:
        code = (code ^ ord(char)) * escapes.HASH_FACTOR & (1 << 64) - 1
    return code


def _entities() -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Hashes of the names of HTML's entities that are one character, and those characters."""
    found = sorted(
        (_hash(name[:-1]), ord(character))
        for name, character in html5.items()
        if name.endswith(";") and len(character) == 1
    )
    hashes, characters = zip(*found, strict=True)
    return np.array(hashes, np.uint64), np.array(characters, np.uint32)


_NAMES, _CHARACTERS = _entities()
_TEX: Final = np.array(sorted(map(_hash, _COMMANDS)), np.uint64)
_LEADS: Final = "%\\&="


def unescaped(text: str) -> str:
    """`text` with each escape replaced, once, by the character that it stands for."""
    if not any(lead in text for lead in _LEADS):
        return text
    points = points_of(text)
    plain = np.empty_like(points)
    count = unescape(points, _NAMES, _CHARACTERS, _TEX, np.empty(1, np.int64), plain)
    return text if count == len(points) else text_of(plain[:count])
