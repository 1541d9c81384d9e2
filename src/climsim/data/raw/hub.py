"""Download of the published step files from the Hugging Face Hub: resumable and verified.

The Hub lists every file with its size and SHA-256, so the plan is known before the first byte, and
each file is compared with its hash once; a list beside the data remembers which were.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from climsim.constants import TIME_STEP
from climsim.data.raw.config import MONTH, DownloadConfig
from climsim.data.raw.step_file import StepFileError, parse_name
from climsim.data.raw.steps import INPUT_TAGS, OUTPUT_TAG
from climsim.data.raw.time_step import VERIFIED
from climsim.errors import ClimSimError
from climsim.products import Kind, claim
from climsim.stage import Progress

logger = logging.getLogger(__name__)


def _holds_downloads(folder: Path) -> bool:
    """Whether files were downloaded into a folder, or step files copied there by hand."""
    if (folder / VERIFIED).is_file():
        return True
    files = (file for depth in ("*", "*/*", "*/*/*") for file in folder.glob(f"{depth}.nc"))
    return not (folder / ".generate").exists() and any(parse_name(file) for file in files)


DOWNLOADS = Kind("the folder of a download", _holds_downloads, is_folder=True)


@dataclass(frozen=True)
class RemoteFile:
    """One file of the data set.

    Attributes:
        path: its path in the data set.
        size: bytes.
        sha256: hash of its content; empty where the Hub gives none (small files).
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class DownloadReport:
    """What a download does or did.

    Attributes:
        repo: the data set.
        files: files wanted.
        present: files that were there before.
        bytes: size of the files wanted.
        missing_bytes: size of those that were not there.
        dry_run: whether nothing was downloaded.
    """

    repo: str
    files: int
    present: int
    bytes: int
    missing_bytes: int
    dry_run: bool

    def __str__(self) -> str:
        verb = "would download" if self.dry_run else "downloaded"
        return (
            f"{self.repo}: {self.files} files, {self.bytes / 2**30:.2f} GiB; {self.present} were "
            f"there; {verb} {self.files - self.present} files, {self.missing_bytes / 2**30:.2f} GiB"
        )


def download(config: DownloadConfig, progress: Progress | None = None) -> DownloadReport:
    """Download step files and the grid file; a second run fetches only what is missing.

    Args:
        config: what, and where to.
        progress: called with the bytes done and their total.

    Returns:
        Counts and sizes.

    Raises:
        ClimSimError: without network, for an unknown data set or month, a full disk, or a file
            whose content is not what the Hub says.
    """
    folder = claim(config.folder, DOWNLOADS, key="folder")
    wanted = list_remote(config)
    verified = _verified(folder)
    missing = [f for f in wanted if not _is_present(folder, f, verified)]
    needed, total = sum(f.size for f in missing), sum(f.size for f in wanted)
    report = DownloadReport(
        repo=config.repo,
        files=len(wanted),
        present=len(wanted) - len(missing),
        bytes=total,
        missing_bytes=needed,
        dry_run=config.dry_run,
    )
    if config.dry_run:
        return report
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ClimSimError(
            f"{folder}: {needed / 2**30:.1f} GiB to download, {free / 2**30:.1f} GiB free: choose "
            "fewer months, a larger stride or another folder"
        )
    # Before the first file: the folder says what it is from the beginning.
    (folder / VERIFIED).touch()
    done = total - needed
    for size in _fetch(missing, config):
        done += size
        if progress is not None:
            progress(done, total)
    return report


def list_remote(config: DownloadConfig) -> list[RemoteFile]:
    """List the wanted files of the data set with their sizes.

    Raises:
        ClimSimError: as for `download`.
    """
    root = _list(config, "")
    grids = [f for f in root if isinstance(f, RepoFile) and f.path.endswith("grid-info.nc")]
    months = config.months or sorted(
        entry.path.rsplit("/", 1)[-1]
        for entry in (_list(config, config.inside) if config.inside else root)
        if not isinstance(entry, RepoFile) and MONTH.fullmatch(entry.path.rsplit("/", 1)[-1])
    )
    found = list(grids)
    for month in months:
        entries = _list(config, f"{config.inside}/{month}".strip("/"))
        found += [e for e in entries if isinstance(e, RepoFile) and _wanted(e.path, config.stride)]
    if len(found) == len(grids):
        raise ClimSimError(
            f"{config.repo}: no step file in {config.inside or 'the root'}: look at the data set "
            "for the folder of its months, and give inside="
        )
    require_inside(config.repo, (entry.path for entry in found))
    return [RemoteFile(f.path, f.size, f.lfs.sha256 if f.lfs else "") for f in found]


def _wanted(path: str, stride: int) -> bool:
    try:
        parsed = parse_name(Path(path))
    except StepFileError as error:
        logger.warning("not downloaded: %s", error)
        return False
    if parsed is None or parsed[0] not in (*INPUT_TAGS, OUTPUT_TAG):
        return False
    return parsed[1] // int(TIME_STEP) % stride == 0


def _list(config: DownloadConfig, inside: str) -> list[RepoFile | RepoFolder]:
    api = HfApi(endpoint=config.endpoint or None)
    with _readable_errors(config, inside):
        return list(
            api.list_repo_tree(
                config.repo, inside or None, revision=config.revision, repo_type="dataset"
            )
        )


@contextmanager
def hub_errors(repo: str, endpoint: str, what: str, advice: str = "") -> Iterator[None]:
    """Turn the Hub's errors into one line each.

    Args:
        repo: on the Hub.
        endpoint: its address; empty for the public one.
        what: is read or written there.
        advice: what to look at where it is not there.
    """
    hub = endpoint or "huggingface.co"
    try:
        yield
    except GatedRepoError as error:
        raise ClimSimError(
            f"repo={repo}: access must be granted: log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise ClimSimError(
            f"repo={repo}: no such repository at {hub}, or it is private: is the name right, and "
            "are you logged in (`hf auth login`)?"
        ) from error
    except RevisionNotFoundError as error:
        raise ClimSimError(
            f"{repo}: it has no such branch, tag or commit: look at its page for their names, and "
            "give revision="
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise _unreachable(hub) from error
    except EntryNotFoundError as error:
        raise ClimSimError(f"{repo}: it has no {what}{advice}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no answer"
        login = ": log in with `hf auth login`" if status in (401, 403) else ""
        raise ClimSimError(f"{repo}: {hub} answered {status} for {what}{login}") from error
    except Exception as error:
        # The transport's own errors have no common base with the Hub's.
        if isinstance(error, OSError) or type(error).__module__.startswith("http"):
            raise _unreachable(hub) from error
        raise


def _readable_errors(config: DownloadConfig, what: str) -> AbstractContextManager[None]:
    """The errors of a download of step files."""
    advice = f": is the month there, and inside={config.inside!r} the folder of the months?"
    return hub_errors(config.repo, config.endpoint, what, advice)


def require_inside(repo: str, paths: Iterable[str]) -> None:
    """Refuse names of files that would be written outside the folder of a download.

    Raises:
        ClimSimError: naming the first.
    """
    for name in paths:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ClimSimError(
                f"{repo}: expected files inside the repository, found {name!r}, which would be "
                "written outside the folder: do not use it"
            )


def _unreachable(hub: str) -> ClimSimError:
    return ClimSimError(
        f"{hub} cannot be reached: check the network or proxy, or copy the data by hand; what "
        "was transferred stays, and the same command continues"
    )


def _fetch(files: list[RemoteFile], config: DownloadConfig) -> Iterator[int]:
    """Download files in parallel; yields the size of each."""
    with ThreadPoolExecutor(config.workers) as pool:
        futures: list[Future[RemoteFile]] = [pool.submit(_fetch_one, f, config) for f in files]
        try:
            for future in as_completed(futures):
                file = future.result()
                if file.sha256:
                    with (Path(config.folder) / VERIFIED).open("a") as stream:
                        stream.write(f"{file.sha256} {file.path}\n")
                yield file.size
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _fetch_one(file: RemoteFile, config: DownloadConfig) -> RemoteFile:
    target = Path(config.folder) / file.path
    whole = target.is_file() and same_content(target, file)
    for _ in range(0 if whole else 2):
        with _readable_errors(config, file.path):
            hf_hub_download(
                config.repo,
                file.path,
                repo_type="dataset",
                revision=config.revision,
                local_dir=config.folder,
                endpoint=config.endpoint or None,
                force_download=target.is_file(),
            )
        if same_content(target, file):
            return file
        logger.warning("%s: not the content that the Hub announces; downloading it again", target)
    if whole:
        return file
    target.unlink(missing_ok=True)
    raise ClimSimError(
        f"{target}: its content is not what {config.repo} announces (size or SHA-256), twice: "
        "try again later"
    )


def same_content(path: Path, file: RemoteFile) -> bool:
    """Whether a file has the size and, where the Hub gives it, the hash of a remote one."""
    if path.stat().st_size != file.size:
        return False
    if not file.sha256:
        return True
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def _verified(folder: Path) -> set[str]:
    ledger = folder / VERIFIED
    return set(ledger.read_text().splitlines()) if ledger.is_file() else set()


def _is_present(folder: Path, file: RemoteFile, verified: set[str]) -> bool:
    """Whether a file is there, whole, and was compared with its hash."""
    path = folder / file.path
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return not file.sha256 or f"{file.sha256} {file.path}" in verified
