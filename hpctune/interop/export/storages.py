"""Optuna's storages: databases by URL, SQLite files, and journal files."""

from __future__ import annotations

from typing import Any

import optuna

from hpctune.errors import UsageError
from hpctune.interop.export.target import is_url, kept_file
from hpctune.interop.optuna.replica import quiet

JOURNALS = (".log", ".journal", ".jsonl")
"""The endings of files that become Optuna journals; all other files are SQLite databases."""


def open_storage(target: str) -> tuple[optuna.storages.BaseStorage, str]:
    """The storage that ``target`` names, and how Optuna's commands name it.

    Raises UsageError if a file is there that is no such storage, or the storage cannot be opened.
    """
    made: Any
    if is_url(target):
        named = made = target
    elif target.lower().endswith(JOURNALS):
        path = kept_file(target, b"{", "an Optuna journal")
        named, made = str(path), _journal(str(path))
    else:
        named = made = f"sqlite:///{kept_file(target, b'SQLite format 3', 'an SQLite database')}"
    try:
        with quiet():
            storage: optuna.storages.BaseStorage = optuna.storages.get_storage(made)
            storage.get_all_studies()
    except Exception as error:  # of SQLAlchemy, of a database's driver, of a file
        why = next(iter(str(error).splitlines()), "")
        raise UsageError(
            f"Optuna cannot open the storage {named}: {type(error).__name__}: {why}. Name another one with -o: "
            "NAME.db, NAME.log, or a URL such as postgresql://user@host/database"
        ) from error
    return storage, named


def _journal(path: str) -> optuna.storages.BaseStorage:
    module: Any = optuna.storages
    backend = module.journal.JournalFileBackend if hasattr(module, "journal") else module.JournalFileStorage
    made: optuna.storages.BaseStorage = module.JournalStorage(backend(path))
    return made
