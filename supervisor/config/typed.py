"""A YAML file as a checked model: what any file but the settings is read with."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pydantic

from supervisor.config import marks
from supervisor.config.fields import Section
from supervisor.config.marks import Document, Keys
from supervisor.config.mistakes import explain

M = TypeVar("M", bound=Section)


def read_typed(path: Path, model: type[M]) -> tuple[Document, M | None]:
    """The file and its model; None, and every mistake in `problems`, where it does not fit."""
    document = marks.read(path)
    if document.problems:
        return document, None
    return document, check_typed(document, model)


def check_typed(document: Document, model: type[M]) -> M | None:
    """The document's data as the model; None, and every mistake in its `problems`, where it does not fit."""
    try:
        return model.model_validate(document.data)
    except pydantic.ValidationError as error:
        for item in error.errors(include_url=False):
            keys: Keys = tuple(item["loc"])
            where = document.at(keys, key=item["type"] == "extra_forbidden")
            document.problems.append(f"{where}: {marks.dotted(keys)}: {explain(item, model)}")
        return None
