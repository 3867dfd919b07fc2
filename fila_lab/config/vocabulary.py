"""What tokenizers know: the characters and words of our own, and how many tokens there are."""

from __future__ import annotations

from fila_lab.config.seam_words import WORDS

SPECIAL = ("<pad>", "<eos>", "<unk>")
CHARACTERS = "".join(chr(code) for code in range(0x20, 0x7F)) + "\n"
"""Printable ASCII and newline, a token each."""
OWN = ("characters", "words")
"""Tokenizers that come with the package."""
VOCABULARY = {
    "characters": len(SPECIAL) + len(CHARACTERS),
    "words": len(SPECIAL) + len(CHARACTERS) + len(WORDS),
    "llama": 32000,
    "qwen2": 151936,
}
"""Sizes of our own tokenizers, else the architecture's usual one."""
