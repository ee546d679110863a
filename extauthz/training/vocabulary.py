"""A vocabulary for many languages around an English encoder.

MiniLM's word pieces are English. We keep those that are used, and add pieces of other languages, cut
out of a multilingual encoder's vocabulary. The added ones begin where that encoder puts them: a linear
map, fitted on the words that both know, carries its word vectors over into MiniLM's.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from unicodedata import category, name, normalize

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from extauthz.core.call import Provenance
from extauthz.training.packed import Packed

Vectors = NDArray[np.float32]

PAD, UNKNOWN, CLS, SEP = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
_SPECIALS: Final = (PAD, UNKNOWN, CLS, SEP)
#: Provenances that look alike to the model share a marker: both are third-party text.
MARKERS: Final = {
    Provenance.USER: "[USER]",
    Provenance.DOCUMENT: "[DOCUMENT]",
    Provenance.TOOL_RESULT: "[DOCUMENT]",
    Provenance.SYSTEM: "[SYSTEM]",
    Provenance.ASSISTANT: "[ASSISTANT]",
    Provenance.TOOL_DEFINITION: "[TOOL]",
}
#: Scripts of the languages that are trained for. Text in others is unknown to the model, and known as such.
SCRIPTS: Final = (
    "LATIN",
    "GREEK",
    "CYRILLIC",
    "ARABIC",
    "DEVANAGARI",
    "HANGUL",
    "HIRAGANA",
    "KATAKANA",
    "CJK",
)
#: Letters in name only: those of formulas and phonetic spelling, and signs such as º.
_MARKS: Final = ("MODIFIER", "INDICATOR", "MICRO", "SCRIPT", "DOUBLE-STRUCK")
#: Pieces in all. With MiniLM's layers that makes 22.9 million parameters.
SIZE: Final = 31_700
#: English pieces that stay, the most used first. The rest fall apart into shorter ones.
_ENGLISH: Final = 23_500
#: Every character of these is a word of its own: there are too many words of them to know.
_WORDS: Final = ("CJK", "HANGUL")
_INSIDE: Final = "##"
_SPACE: Final = "▁"
_LEAST_USES: Final = 3
#: Of the added pieces, how many are single letters and signs at most: the rest of a script is read by them.
_LETTERS: Final = 0.75


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The pieces, and their first vectors, (pieces, hidden) float32."""

    pieces: tuple[str, ...]
    vectors: Vectors


def assemble(
    base: Sequence[str], vectors: Vectors, packed: Packed, hidden: int, texts: Sequence[str]
) -> Vocabulary:
    """A vocabulary for `texts`.

    Args:
        base: the English encoder's pieces in the order of their ids.
        vectors: their vectors, (pieces, hidden) float32.
        packed: the multilingual encoder.
        hidden: numbers of a vector.
        texts: what the model will be trained on.
    """
    markers = tuple(dict.fromkeys(MARKERS.values()))
    words = [piece for piece in base if _is_for_us(piece) and piece not in _SPECIALS]
    kept = _most_used(words, texts, _ENGLISH)
    room = SIZE - len(_SPECIALS) - len(markers) - len(kept)
    added = _foreign(packed, set(words), texts, room)
    ids = {piece: place for place, piece in enumerate(base)}
    there = vectors[[ids[piece] for piece in (*_SPECIALS, *kept)]]
    # A marker begins as [CLS]: a token that the encoder reads as no word.
    marked = np.repeat(vectors[ids[CLS]][None], len(markers), axis=0)
    foreign = packed.tensors["emb.word"].reshape(-1, hidden)
    carried = foreign[[place for _, place in added]] @ _map(packed, foreign, ids, vectors)
    # A fitted vector is shorter than a real one by what could not be fitted.
    carried *= np.linalg.norm(there, axis=1).mean() / np.linalg.norm(carried, axis=1).mean()
    pieces = (*_SPECIALS, *markers, *kept, *(piece for piece, _ in added))
    parts = (there[: len(_SPECIALS)], marked, there[len(_SPECIALS) :], carried)
    return Vocabulary(pieces, np.concatenate(parts).astype(np.float32))


def tokenizer(pieces: Sequence[str]) -> Tokenizer:
    """The tokenizer of a vocabulary.

    Letters are folded as MiniLM expects: no capitals, and no accents on Latin and Greek ones; other
    scripts keep theirs, which are vowels there. A symbol is a word of its own, so that an emoji glued to
    a word does not make it unknown, and so is a syllable of Hangul.
    """
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100))
    made.normalizer = normalizers.Sequence(
        [
            normalizers.NFKD(),
            normalizers.Replace(Regex(r"(?<=[\p{Latin}\p{Greek}])\p{Mn}+"), ""),
            normalizers.NFC(),
            normalizers.BertNormalizer(strip_accents=False, lowercase=True),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\p{So}\p{Hangul}]"), "isolated"),
            pre_tokenizers.BertPreTokenizer(),
        ]
    )
    made.add_special_tokens(
        [
            AddedToken(one, normalized=False)
            for one in (*_SPECIALS, *dict.fromkeys(MARKERS.values()))
        ]
    )
    made.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        special_tokens=[(CLS, vocabulary[CLS]), (SEP, vocabulary[SEP])],
    )
    return made


def _most_used(words: Sequence[str], texts: Iterable[str], most: int) -> list[str]:
    """Single characters, and the words that the texts use most; in their old order."""
    uses: Counter[str] = Counter()
    for encoding in tokenizer([*_SPECIALS, *MARKERS.values(), *words]).encode_batch(
        list(texts), add_special_tokens=False
    ):
        uses.update(encoding.tokens)
    places = {word: place for place, word in enumerate(words)}
    # The base lists its words by general frequency, which decides where the texts do not.
    ranked = sorted(words, key=lambda word: (len(_bare(word)) > 1, -uses[word], places[word]))
    return sorted(ranked[:most], key=places.__getitem__)


def _foreign(
    packed: Packed, known: set[str], texts: Sequence[str], most: int
) -> list[tuple[str, int]]:
    """Pieces to add, each with its place in the multilingual vocabulary: the most used first."""
    candidates: dict[str, int] = {}
    for place, piece in enumerate(packed.pieces):
        for written in _as_word_pieces(piece):
            if written not in known:
                candidates.setdefault(written, place)
    whole = tokenizer([*_SPECIALS, *MARKERS.values(), *known, *candidates])
    uses: Counter[str] = Counter()
    for encoding in whole.encode_batch(list(texts), add_special_tokens=False):
        uses.update(encoding.tokens)
    used = [piece for piece, count in uses.most_common() if count >= _LEAST_USES]
    # Without its letters a script cannot be read at all; then what the texts use; then the frequent.
    letters = [piece for piece in candidates if len(_bare(piece)) == 1][: int(_LETTERS * most)]
    ranked = dict.fromkeys([*letters, *(one for one in used if one in candidates), *candidates])
    return [(piece, candidates[piece]) for piece in list(ranked)[:most]]


def _as_word_pieces(piece: str) -> Iterator[str]:
    """How WordPiece writes a piece that SentencePiece has: `▁word` as `word`, `word` as `##word`."""
    word = piece.replace(_SPACE, "")
    folded = "".join(
        char
        for char in normalize("NFKD", word.lower())
        if category(char) != "Mn" or "LATIN" not in name(char, "LATIN")
    )
    folded = normalize("NFC", folded) if not folded.isascii() else folded
    if not folded or not _is_readable(folded) or piece.count(_SPACE) > 1:
        return
    if any(sign in name(char, "") for char in folded for sign in _WORDS):
        if len(folded) == 1:
            yield folded
        return
    if piece.startswith(_SPACE) or len(folded) == 1:
        yield folded
    if not piece.startswith(_SPACE) or len(folded) == 1:
        yield _INSIDE + folded


def _is_for_us(piece: str) -> bool:
    """Whether a piece of the base is no placeholder, and in no script that is not trained for."""
    letters = [char for char in _bare(piece) if char.isalpha()]
    return not piece.startswith("[unused") and all(
        any(script in name(char, "LATIN") for script in (*SCRIPTS, *_MARKS)) for char in letters
    )


def _is_readable(word: str) -> bool:
    """Whether a word is of letters only, in a script that is trained for."""
    return all(
        (char.isalpha() or category(char).startswith("M"))
        and any(script in name(char, "") for script in SCRIPTS)
        for char in word
    )


def _map(
    packed: Packed, foreign: Vectors, ids: dict[str, int], vectors: Vectors
) -> NDArray[np.float64]:
    """The linear map between the encoders' word vectors that fits the words both know: (hidden, hidden)."""
    shared = {
        piece[1:]: place
        for place, piece in enumerate(packed.pieces)
        if piece.startswith(_SPACE) and len(piece) > 3 and piece[1:] in ids
    }
    theirs = foreign[list(shared.values())].astype(np.float64)
    ours = vectors[[ids[word] for word in shared]].astype(np.float64)
    ridge = np.eye(theirs.shape[1]) * 1e-3 * np.trace(theirs.T @ theirs) / theirs.shape[1]
    return np.asarray(np.linalg.solve(theirs.T @ theirs + ridge, theirs.T @ ours))


def _bare(piece: str) -> str:
    return piece.removeprefix(_INSIDE)
