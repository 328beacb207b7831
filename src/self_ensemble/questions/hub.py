"""Rows of a data set on the Hugging Face hub."""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from self_ensemble.errors import UserError
from self_ensemble.questions.network import hub_if_reachable
from self_ensemble.questions.rows import Row


def load_split(repo: str, split: str) -> Any:
    """Download one split, or take it from the local cache.

    Returns:
        A `datasets.Dataset`.

    Raises:
        UserError: `datasets` is not installed, or the data set cannot be had from the hub.
    """
    try:
        import datasets

        # The HTTP client's base error, by the one name that no client version changes.
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]
    except ImportError:
        raise UserError(
            f"Loading {repo} from the hub needs the package 'datasets'. "
            "Run: pip install 'self-ensemble[hub]', or give a local copy with --data DIR.",
            "SE-0015",
        ) from None
    try:
        with hub_if_reachable(f"{repo} ({split})"), _quiet_retries():
            return datasets.load_dataset(repo, split=split)
    except (OSError, HTTPError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"Cannot load {repo} from the hub: {reason.rstrip('.')}. "
            "Check the connection, or give a local copy with --data DIR.",
            "SE-0115",
        ) from None


def split_rows(dataset: Any, columns: Sequence[str], name: str) -> Iterator[Row]:
    """Yield the named columns of a `datasets.Dataset`, row by row.

    Raises:
        UserError: A column is missing.
    """
    missing = [column for column in columns if column not in dataset.column_names]
    if missing:
        raise UserError(
            f"{name} has no column {missing[0]!r}; its columns are: "
            f"{', '.join(dataset.column_names)}. Give a local copy with --data DIR.",
            "SE-0107",
        )
    number = 0
    # In batches: one row at a time takes minutes on a data set of millions of rows.
    for batch in dataset.select_columns(list(columns)).iter(batch_size=1000):
        for values in zip(*(batch[column] for column in columns), strict=True):
            number += 1
            yield Row(f"{name} row {number}", dict(zip(columns, values, strict=True)))


def content_sha256(items: Iterable[object]) -> str:
    """Hash JSON values in their order, in hex."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps(item, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


@contextmanager
def _quiet_retries() -> Iterator[None]:
    # The hub client logs two lines per retry; what matters of them is in the one error line.
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
