"""Every shell command of the documentation, with the mark that stands before its block.

A block of commands is executed by the tests unless an HTML comment before it says why not:
``<!-- needs: e3sm -->`` (see `NEEDS`) or ``<!-- tested-by: path/of/test.py::test_name -->``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests import ROOT

NEEDS = {"e3sm", "FTorch", "cluster", "data", "gpu", "hours", "quiet machine", "conda", "container"}
SHELLS = {"sh", "bash", "shell", "console"}
PROGRAMS = {"climsim", "make", "python", "pip", "git", "cmake"}
MARK = re.compile(r"<!--\s*(needs|tested-by):\s*(.+?)\s*-->")


@dataclass(frozen=True)
class Command:
    """One command line of a page.

    Attributes:
        page: path of the page below the repository.
        line: of the block in the page.
        words: as the shell splits them, variable assignments before the program left out.
        mark: kind and text of the mark, such as ``("needs", "e3sm")``; none where there is none.
    """

    page: str
    line: int
    words: tuple[str, ...]
    mark: tuple[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.words)}"


def pages() -> list[Path]:
    """The pages a user reads, without what is generated for them."""
    found = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "fortran").glob("*.md")]
    return sorted(path for path in found if "generated" not in path.parts)


def command_lines(text: str) -> Iterator[tuple[str, ...]]:
    """The words of each command of a block: continued lines joined, comments dropped."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        part: list[str] = []
        for word in [*words, "&&"]:
            if word in ("&&", "|", ";"):
                if part:
                    yield tuple(part)
                part = []
            else:
                part.append(word)


def unsafe_in_zsh(line: str) -> str:
    """What an interactive zsh would not pass on as typed: globs and comments outside quotes.

    Args:
        line: as it is pasted.

    Returns:
        The signs that are not in quotes; empty for a line that is safe.
    """
    bare = re.sub(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"|\\.", "", line)
    return "".join(re.findall(r"[\[\]*?(){}^]|(?<=\s)[#=~]|(?<==)~", bare))


def raw_lines(path: Path) -> Iterator[str]:
    """Every `climsim` line of the blocks of a page as it is pasted, continued lines joined."""
    for token in MarkdownIt().enable("table").parse(path.read_text()):
        if token.type in ("fence", "code_block") and is_shell(token):
            for line in re.sub(r"\\\n\s*", " ", token.content).splitlines():
                if line.strip().startswith("climsim "):
                    yield line.strip()


def pasted_lines(path: Path) -> Iterator[str]:
    """Every line of the blocks of commands of a page as it stands there."""
    for token in MarkdownIt().enable("table").parse(path.read_text()):
        if token.type in ("fence", "code_block") and is_shell(token):
            yield from token.content.splitlines()


def is_shell(token: Token) -> bool:
    """Whether a block of code holds commands, by its language or else by its first words."""
    language = token.info.split()[0] if token.info else ""
    if language or token.type not in ("fence", "code_block"):
        return language in SHELLS
    firsts = {line.split()[0] for line in token.content.splitlines() if line.strip()}
    return bool(firsts & PROGRAMS)


def commands(path: Path) -> Iterator[Command]:
    """Every command in the blocks of a page."""
    page = str(path.relative_to(ROOT))
    mark = None
    for token in MarkdownIt().enable("table").parse(path.read_text()):
        if token.type == "html_block" and (found := MARK.search(token.content)):
            mark = found[1], found[2]
        elif token.type in ("fence", "code_block"):
            if is_shell(token):
                line = (token.map or [0])[0] + 1
                for words in command_lines(token.content):
                    yield Command(page, line, words, mark)
            mark = None


def inline_commands(path: Path) -> Iterator[Command]:
    """Every `climsim ... key=value` in the running text of a page."""
    page = str(path.relative_to(ROOT))
    for token in MarkdownIt().enable("table").parse(path.read_text()):
        for child in token.children or []:
            text = child.content
            if child.type == "code_inline" and text.startswith("climsim ") and "=" in text:
                yield Command(page, (token.map or [0])[0] + 1, tuple(shlex.split(text)))


def blocks(path: Path, language: str) -> Iterator[tuple[int, str]]:
    """Line and text of each block of a language."""
    for token in MarkdownIt().parse(path.read_text()):
        if token.type == "fence" and token.info.split()[:1] == [language]:
            yield (token.map or [0])[0] + 1, token.content
