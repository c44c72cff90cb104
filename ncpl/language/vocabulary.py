"""A tokenizer as this package needs it: text to ids, and one file to keep it in."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from ncpl.errors import BundleError

UNKNOWN = "[unknown]"


class Vocabulary:
    """Text to ids, by a tokenizer of the `tokenizers` library; never adds special tokens."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        ids = tokenizer.get_vocab().values()  # slow: the library makes a new dict of all tokens
        self.size = int(max(ids)) + 1
        """Rows an embedding table needs."""
        self.filler = int(min(ids))
        """An id that exists, to stand where a number's or a padding's vector is put."""
        self.encode = lru_cache(maxsize=65536)(self._encode)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    @classmethod
    def of_words(cls, texts: Iterable[str]) -> Vocabulary:
        """Return a tokenizer whose tokens are the words of these texts, sorted."""
        from tokenizers import Tokenizer, models, pre_tokenizers

        words = sorted({word for text in texts for word in text.split()})
        ids = {word: i for i, word in enumerate([UNKNOWN, *words])}
        tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return cls(tokenizer)

    @classmethod
    def from_file(cls, path: Path) -> Vocabulary:
        """Return the tokenizer of a tokenizer.json. Raises BundleError where it is none."""
        from tokenizers import Tokenizer

        try:
            return cls(Tokenizer.from_str(path.read_text(encoding="utf-8")))
        except Exception as error:  # the library raises nothing narrower
            raise BundleError(f"{path} is not a tokenizer: {error}") from error

    def save(self, path: Path) -> None:
        """Write tokenizer.json."""
        path.write_text(self.tokenizer.to_str(), encoding="utf-8")
