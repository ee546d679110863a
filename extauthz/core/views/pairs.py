"""How often letters follow one another in English: what tells text from noise and cipher."""

from typing import Final

import numpy as np

#: One row for the letter before, a to z after the row for none, and one column for the letter after.
#: "i" is as likely as any other letter, each letter on is half a bit likelier, each back half a bit
#: less, 2 log2(27 p), between "a" and "q". Counted once, in November 2026, from this repository's
#: own words: its Markdown, docstrings and names of tests, 146,000 characters without regard to case,
#: all that is no letter taken as none, and half a count added to each pair.
_ROWS: Final = (
    "imijhiiegkcehiikiajkmfdkaaa",
    "magjjadgaiaekimagakkmgccaha",
    "ilaaaocaaifajaanaaffakaaama",
    "hlaealaaniakjaaneafckhaaaha",
    "qfaafnaaajabfcakbafkacaaaia",
    "ojaikefbadaaifkaefmmhahbhda",
    "okaaaihaanaahaamaajbijaaaba",
    "oiaaanafjkaafgiidajjgjaaaaa",
    "mnaaapaaajaaaaalaagbfcaaacf",
    "efdjijghaaacjgnifagmnafabae",
    "aiaaanaaaaaaaaaoaaapaiajaaa",
    "ngccapaaakaabajaaagladaaaaa",
    "mlaakndaamaalbalaaajiiaaaha",
    "lmiadoaaajaafgamkaagahaaaaa",
    "nhahmldkaiadfaglbaajldhaafa",
    "kefgjekeaeahiimhgamhjkgkaga",
    "lmdgamabdiaakaamhalikiaaaia",
    "hcaaaaaaaaaaaaaaaaaaaqaaaaa",
    "njadhoaeajaedffkdagjiihbaia",
    "qhahalaahhadaaaigaaimeaeaaa",
    "oiaeamaaoiaabaajbahkfeadaea",
    "ggefemdhagaalimdiallmaaaaaa",
    "glaaaqaaajaabaamaaaaaaaaaaa",
    "lkaaakaaonaaaajkaaikcaaaaaa",
    "miagaiaaahaaaaaakadaqaaadda",
    "qfaaaeaaabaacacehaakkaaaaaa",
    "pkbbbobbbhbbbbbbbbbgbebbbee",
)
#: (27, 27) int8: half bits of evidence for English in one letter after another.
PAIRS: Final = np.array([[ord(char) - ord("i") for char in row] for row in _ROWS], np.int8)
