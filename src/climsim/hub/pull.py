"""Downloading: a model with its card, or a store, whole or not at all."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.hf_api import RepoFile

from climsim.data.raw.hub import RemoteFile, hub_errors, require_inside, same_content
from climsim.data.store.opened import STORE, open_store
from climsim.errors import ClimSimError
from climsim.files import atomic_path, remove, write_json
from climsim.hub.config import KINDS, PullConfig
from climsim.hub.push import CARD, MODEL
from climsim.products import LISTED, Kind, claim, listed
from climsim.stage import Progress

logger = logging.getLogger(__name__)
_OF_HUB = (".gitattributes", CARD)
"""Files of the Hub that are no part of a store."""
_CACHE = ".cache"
"""Where the Hub's client keeps what it needs to continue a download."""
_NOTE = "hub.json"
"""In a folder that was pulled: where from, and which of its entries came from there."""


def _pulled(folder: Path) -> Kind:
    """A folder with any other file is somebody's own, even if it holds a model."""
    return listed("a model that was pulled from the Hub", folder, _NOTE, "repo")


def pull(config: PullConfig, progress: Progress | None = None) -> Path:
    """Download a model or a store; an interrupted download is continued.

    Every file is compared with the size and the SHA-256 that the Hub names, and a store with its
    own checksums. The file of a model is not run: `climsim.load_emulator` does that.

    Args:
        config: what, and where to.
        progress: called with (bytes done, bytes in all).

    Returns:
        The folder.

    Raises:
        ClimSimError: if there is no such repository, it holds something else, or a file is not what
            the Hub announces; if the folder is the present one or one above it.
    """
    _refuse_present(config.out)
    claim(config.out, STORE if config.kind == "store" else _pulled(config.out))
    folder = config.out.with_name(f"{config.out.name}.pulling")
    claim(folder, _pulled(folder))
    wanted = _listed(config)
    folder.mkdir(parents=True, exist_ok=True)
    _clear(folder, {file.path for file in wanted})
    _write_note(folder, wanted, config)
    done, total = 0, sum(file.size for file in wanted)
    with ThreadPoolExecutor(config.workers) as pool:
        for file in pool.map(lambda f: _fetch(f, folder, config), wanted):
            done += file.size
            if progress is not None:
                progress(done, total)
    remove(folder / _CACHE)
    if config.kind == "store":
        remove(folder / _NOTE)
        open_store(folder)
    with atomic_path(config.out) as temporary:
        folder.rename(temporary)
    return config.out


def _clear(folder: Path, wanted: Container[str]) -> None:
    """Remove what a download that broke off left of another repository or revision."""
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder after what is in it
        name = path.relative_to(folder)
        if name.parts[0] in (_CACHE, _NOTE) or name.as_posix() in wanted:
            continue
        if not path.is_dir() or not any(path.iterdir()):
            remove(path)


def _write_note(folder: Path, files: Sequence[RemoteFile], config: PullConfig) -> None:
    entries = sorted({PurePosixPath(file.path).parts[0] for file in files} | {_CACHE})
    about = {"repo": config.repo, "revision": config.revision, LISTED: entries}
    write_json(folder / _NOTE, about)


def _refuse_present(out: Path) -> None:
    """Refuse the folder that the command runs in: what is complete takes the place of a folder."""
    if Path.cwd().is_relative_to(out.resolve()):
        raise ClimSimError(
            f"out={out}: expected a new folder, which gets its name when the download is whole, "
            "found the present one or one above it: give the name of one, as in out=NAME"
        )


def _listed(config: PullConfig) -> list[RemoteFile]:
    api = HfApi(endpoint=config.endpoint or None)
    with hub_errors(config.repo, config.endpoint, config.revision):
        entries = list(
            api.list_repo_tree(
                config.repo,
                recursive=True,
                revision=config.revision,
                repo_type=KINDS[config.kind],
            )
        )
    found = [entry for entry in entries if isinstance(entry, RepoFile)]
    require_inside(config.repo, [entry.path for entry in found])
    left_out = (_NOTE, *(_OF_HUB if config.kind == "store" else ()))
    found = [entry for entry in found if entry.path not in left_out]
    needed = f"{MODEL}.*" if config.kind == "model" else "zarr.json"
    if not fnmatch.filter([entry.path for entry in found], needed):
        raise ClimSimError(
            f"repo={config.repo}: expected a {config.kind} that `climsim hub push` uploaded, found "
            f"no {needed}: is it another kind (kind=)?"
        )
    return [RemoteFile(f.path, f.size, f.lfs.sha256 if f.lfs else "") for f in found]


def _fetch(file: RemoteFile, folder: Path, config: PullConfig) -> RemoteFile:
    target = folder / file.path
    if target.is_file() and file.sha256 and same_content(target, file):
        return file
    with hub_errors(config.repo, config.endpoint, file.path):
        hf_hub_download(
            config.repo,
            file.path,
            repo_type=KINDS[config.kind],
            revision=config.revision,
            local_dir=folder,
            endpoint=config.endpoint or None,
        )
    if not same_content(target, file):
        remove(target)
        raise ClimSimError(
            f"{target}: its content is not what {config.repo} announces (size or SHA-256): run the "
            "same command again, which continues"
        )
    return file
