"""Characters that are read as Latin letters, and those that are not read at all.

Facts of Unicode (UTS #39 lists the confusables) and of what text generators offer, written down by
us: only what fools a reader, so that honest text of other scripts stays as it is.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_A_TO_Z: Final = "abcdefghijklmnopqrstuvwxyz"

#: Cyrillic, Greek, Armenian, Cherokee and Lisu letters that look like Latin ones, then Latin letters
#: of phonetic alphabets and small capitals; and their Latin twins.
LOOKALIKES: Final = (
    "аеорсухіјѕԁԛԝһӏАВЕКМНОРСТХІЈЅԌαγοριυντκωΑΒΕΖΗΙΚΜΝΟΡΤΥΧϲϳɡɑıɩᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢǫꞯᴣʋɾƖ"
    "օսոհցզյᎪᏴᏟᎠᎬᏀᎻᎫᏦᏞᎷᏢᎡᏚᎢᏙᎳᏃꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜ"
)
LATIN: Final = (
    "aeopcyxijsdqwhlABEKMHOPCTXIJSGayopiuvtkwABEZHIKMNOPTYXcjgaiiabcdefghijklmnoprstuvwyzqqzurl"
    "ounhgqjABCDEGHJKLMPRSTVWZABCDEFGHIJKLMNOPRSTUVWXYZ"
)
#: Letters drawn as signs, none of which NFKC knows: negative circled and squared capitals, and the
#: letters of Braille (grade 1; a cell is a set of dots, numbered from U+2800).
_BRAILLE: Final = "⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵"
LETTER_SIGNS: Final = (
    {chr(0x1F150 + step): letter.upper() for step, letter in enumerate(_A_TO_Z)}
    | {chr(0x1F170 + step): letter.upper() for step, letter in enumerate(_A_TO_Z)}
    | dict(zip(_BRAILLE, _A_TO_Z, strict=True))
    | {"\u2800": " "}
)
#: Invisible code points: zero-width and soft hyphens, joiners, bidi controls, fillers, BOM,
#: invisible operators, variation selectors and the tag block; marks that strike through or enclose; and ™ and
#: ℠, which are marks of a word and no letters of it.
HIDDEN: Final = (
    0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2120, 0x2122, 0x3164, 0xFEFF, 0xFFA0,
    *range(0x0332, 0x0339), *range(0x180B, 0x1810), *range(0x200B, 0x2010),
    *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0x20DD, 0x20E5), *range(0xFE00, 0xFE10),
    *range(0xFFF9, 0xFFFC), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE0080), *range(0xE0100, 0xE01F0),
)  # fmt: skip

_UPSIDE_DOWN: Final = "ɐqɔpǝɟƃɥᴉɾʞʃɯuodbɹsʇnʌʍxʎz"
_ALSO_UPSIDE_DOWN: Final = {"ı": "i", "ן": "l", "l": "l", "ɓ": "g", "ɔ": "c", "i": "i", "о": "o"}

#: Codes of ISO 3166-1 that flags are made of, by first letter, with EU, UN, XK and the islands.
_COUNTRIES: Final = (
    "CDEFGILMOQRSTUWXZ ABDEFGHIJLMNOQRSTVWYZ ACDFGHIKLMNOPQRUVWXYZ EGJKMOZ ACEGHRSTU IJKMOR "
    "ABDEFGHILMNPQRSTUWY KMNRTU CDELMNOQRST EMOP EGHIMNPRWYZ ABCIKRSTUVY "
    "ACDEFGHKLMNOPQRSTUVWXYZ ACEFGILOPRUZ M AEFGHKLMNRSTWY A EOSUW ABCDEGHIJKLMNORSTVXYZ "
    "ACDFGHJKLMNORTVWZ AGMNSYZ ACEGINU FS K ET AMW"
)


def _upright() -> NDArray[np.uint32]:
    """(m,) uint32: the letter that an upside-down one is, 0 for what is none.

    The top bit marks those that have no other use in a text.
    """
    turned = dict(zip(_UPSIDE_DOWN, _A_TO_Z, strict=True)) | _ALSO_UPSIDE_DOWN
    table = np.zeros(0x2000, np.uint32)
    for char, letter in turned.items():
        table[ord(char)] = ord(letter) | (0x80000000 if char in "ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎ" else 0)
    return table


def _flags() -> NDArray[np.uint8]:
    """(26, 26) uint8: 1 where two regional indicators make a flag."""
    table = np.zeros((26, 26), np.uint8)
    for first, seconds in enumerate(_COUNTRIES.split()):
        for second in seconds:
            table[first, ord(second) - ord("A")] = 1
    return table


UPRIGHT: Final = _upright()
FLAGS: Final = _flags()
