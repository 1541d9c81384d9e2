"""Uploading: an exported model with its card, scores and figures, or a prepared store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from climsim.data.raw.hub import hub_errors
from climsim.data.store.opened import STORE, open_store
from climsim.errors import ClimSimError, some_of
from climsim.export.formats import FORMATS
from climsim.export.writing import EXPORTED
from climsim.hub.card import model_card, store_card
from climsim.hub.config import PushConfig
from climsim.stage import Progress

logger = logging.getLogger(__name__)
CARD, MODEL, SCORES, FIGURES = "README.md", "model", "offline.nc", "figures"
"""Names in a repository; that of a model keeps the ending of its format."""
_FILES_AT_ONCE = 500
"""Changes in a commit: a store has thousands of files."""


def push(config: PushConfig, progress: Progress | None = None) -> str:
    """Upload a model or a store; files that are there already and equal are not sent again.

    What an earlier upload of the same kind left and this one does not bring is deleted: scores,
    figures and the file of another model must not stand beside this one. Other files stay.

    Args:
        config: what, and where to.
        progress: called with (files done, files in all).

    Returns:
        Address of the repository.

    Raises:
        ClimSimError: if the path is neither, or the Hub refuses.
    """
    is_store = config.path.is_dir() and STORE.recognizes(config.path)
    if not is_store and not (config.path.is_file() and EXPORTED.recognizes(config.path)):
        raise ClimSimError(
            f"path={config.path}: expected an exported model or a prepared store, found neither: "
            "give what `climsim export` or `climsim data prepare` wrote"
        )
    files = list(_store_files(config) if is_store else _model_files(config))
    kind = "dataset" if is_store else "model"
    api = HfApi(endpoint=config.endpoint or None)
    with hub_errors(config.repo, config.endpoint, config.path.name):
        api.create_repo(config.repo, private=config.private, repo_type=kind, exist_ok=True)
        if config.revision != "main":
            api.create_branch(config.repo, branch=config.revision, repo_type=kind, exist_ok=True)
        there = api.list_repo_files(config.repo, revision=config.revision, repo_type=kind)
        stale = _left_over(files, there, _is_of_store if is_store else _is_of_model)
        # The description of a store stays last.
        changes: list[CommitOperationAdd | CommitOperationDelete] = [*files, *stale]
        changes.append(changes.pop(len(files) - 1))
        for start in range(0, len(changes), _FILES_AT_ONCE):
            part = changes[start : start + _FILES_AT_ONCE]
            api.create_commit(
                config.repo,
                part,
                commit_message=f"Upload {config.path.name}",
                repo_type=kind,
                revision=config.revision,
            )
            if progress is not None:
                progress(start + len(part), len(changes))
    base = (config.endpoint or "https://huggingface.co").rstrip("/")
    return f"{base}/{'datasets/' if is_store else ''}{config.repo}"


def _left_over(
    files: Sequence[CommitOperationAdd], there: Sequence[str], written: Callable[[str], bool]
) -> list[CommitOperationDelete]:
    """What an earlier upload left that is no part of this one.

    Args:
        files: that are uploaded.
        there: paths in the repository.
        written: whether an upload of this kind writes such a path.
    """
    now = {file.path_in_repo for file in files}
    left = [path for path in there if path not in now and written(path)]
    if left:
        logger.info("deleting what an earlier upload left: %s", some_of(left))
    return [CommitOperationDelete(path) for path in left]


def _is_of_model(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    if folder:
        return folder == FIGURES and name.endswith(".png")
    return name == SCORES or name in {f"{MODEL}{f.suffix}" for f in FORMATS.shipped().values()}


def _is_of_store(path: str) -> bool:
    return STORE.owns is not None and STORE.owns(path.partition("/")[0])


def _model_files(config: PushConfig) -> Iterator[CommitOperationAdd]:
    pictures = sorted(config.figures.glob("*.png")) if config.figures else []
    if config.figures and not pictures:
        raise ClimSimError(
            f"figures={config.figures}: expected a folder with PNG files, found none: draw them "
            "with `climsim figures`"
        )
    card = model_card(config.path, config.repo, config.license, config.offline, pictures)
    yield CommitOperationAdd(CARD, card.encode())
    yield CommitOperationAdd(f"{MODEL}{config.path.suffix}", str(config.path))
    if config.offline is not None:
        yield CommitOperationAdd(SCORES, str(config.offline))
    for picture in pictures:
        yield CommitOperationAdd(f"{FIGURES}/{picture.name}", str(picture))


def _store_files(config: PushConfig) -> Iterator[CommitOperationAdd]:
    """All files of a store, its description last: a store without it is known to be incomplete."""
    store = open_store(config.path)
    yield CommitOperationAdd(CARD, store_card(store, config.license).encode())
    paths = sorted(path for path in config.path.rglob("*") if path.is_file())
    paths.sort(key=lambda path: path == config.path / "zarr.json")
    for path in paths:
        yield CommitOperationAdd(path.relative_to(config.path).as_posix(), str(path))
