"""Merges `locale/<language>/*.po` into `locale/<language>/LC_MESSAGES/renewctl.mo` (`make catalogues`).

Runs where the project is developed (it needs Babel); the results are committed.
"""

from __future__ import annotations

import gettext
import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from renewctl.messages import DOMAIN, LANGUAGES, LOCALE_FOLDER

_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)  # in the header; a real date would change the file at each build


def merged(language: str) -> Catalog:
    """All catalogues of one language as one.

    Raises:
        ValueError: a key twice, an empty sentence, a sentence marked fuzzy.
    """
    whole = Catalog(
        locale=language, domain=DOMAIN, creation_date=_LONG_AGO, revision_date=_LONG_AGO, fuzzy=False
    )
    for path in sorted((LOCALE_FOLDER / language).glob("*.po")):
        with path.open("rb") as file:
            part = read_po(file, locale=language, abort_invalid=True)
        for message in part:
            if not message.id:
                continue
            key = _key(message)
            if key in whole or message.fuzzy or not all(forms(message)):
                raise ValueError(f"{path}:{message.lineno}: {key} is there twice, fuzzy, or empty")
            whole.add(message.id, message.string)
    return whole


def forms(message: Message) -> tuple[str, ...]:
    """The sentence, or each of its forms where it counts something."""
    return message.string if isinstance(message.string, tuple) else (str(message.string),)


def sentences(language: str) -> dict[str, tuple[str, ...]]:
    """Key -> the forms of its sentence."""
    return {_key(message): forms(message) for message in merged(language) if message.id}


def _key(message: Message) -> str:
    return message.id[0] if isinstance(message.id, tuple) else str(message.id)


def target(language: str) -> Path:
    """Where the compiled catalogue of a language is kept."""
    return LOCALE_FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}.mo"


def is_current(language: str) -> bool:
    """Whether the compiled catalogue says what the sources say (bytes differ between Babel versions)."""
    path = target(language)
    if not path.exists():
        return False
    with path.open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    known = {key: value for key, value in vars(compiled)["_catalog"].items() if key}
    return known == {
        (_key(message), number) if isinstance(message.id, tuple) else _key(message): form
        for message in merged(language)
        if message.id
        for number, form in enumerate(forms(message))
    }


def build() -> None:
    """Compile what is not current."""
    for language in LANGUAGES:
        if is_current(language):
            continue
        path = target(language)
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            write_mo(file, merged(language))
        sys.stderr.write(f"{path}\n")


if __name__ == "__main__":
    build()
