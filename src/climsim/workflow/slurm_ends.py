"""What SLURM did to a job that it refused or ended: one line, with what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from climsim.workflow.logs import error_line, tail

_REFUSED = re.compile(
    r"^    message: SLURM sbatch failed\. The error message was '(.*?)'\.\n    sbatch call",
    re.MULTILINE | re.DOTALL,
)
_ENDED = re.compile(
    r"^    message: SLURM-job '([^']+)' failed.*?SLURM status is:\s*'(\w+)",
    re.MULTILINE | re.DOTALL,
)
_LOG = re.compile(r"^    log: (\S+\.log)", re.MULTILINE)
_OUTGREW = re.compile(r"exceeded memory limit|oom[-_ ]?kill", re.IGNORECASE)
"""What SLURM writes of a job that outgrew its memory; its state may only be FAILED."""
_COMPLAINT = re.compile(r"^(?:srun|slurmstepd|slurmd|sbatch)\S*: (?:error|fatal): .*", re.MULTILINE)
_REMEDIES = {
    "BOOT_FAIL": "its node did not start: run the same command again",
    "CANCELLED": "it was cancelled: run the same command again",
    "DEADLINE": "its deadline passed: run the same command again",
    "NODE_FAIL": "its node failed: run the same command again",
    "OUT_OF_MEMORY": "it outgrew its memory: raise slurm.rules.{rule}.mem_mb",
    "TIMEOUT": "it ran out of time: raise slurm.rules.{rule}.runtime, in minutes",
}
"""What to do about a job, by SLURM's name of the state that it ended in."""


@dataclass(frozen=True)
class SlurmEnd:
    """How SLURM ended a job.

    Attributes:
        message: what happened and what to do, in one line.
        certain: whether SLURM itself ended or refused it, so that what the stage said last is not
            the cause.
        log: what the job printed outside the log of its stage; None where there is no such file.
    """

    message: str
    certain: bool
    log: Path | None = None


def slurm_end(rule: str, block: str) -> SlurmEnd | None:
    """Read how a job ended from Snakemake's words about its failure.

    Args:
        rule: of the job.
        block: the lines below ``Error in rule``.

    Returns:
        None where SLURM had nothing to do with it.
    """
    if refused := _REFUSED.search(block):
        reason = " ".join(refused[1].split()).replace("sbatch: error: ", "")
        message = (
            f"sbatch refuses the job ({reason}): look at slurm.account, the partitions and "
            f"slurm.rules.{rule}"
        )
        return SlurmEnd(message, certain=True)
    ended = _ENDED.search(block)
    if ended is None:
        return None
    named = _LOG.search(block)
    log = Path(named[1]) if named and Path(named[1]).is_file() else None
    text = tail(log) if log else ""
    number, state = ended.groups()
    if state == "FAILED" and _OUTGREW.search(text):
        state = "OUT_OF_MEMORY"
    head = f"job {number} of SLURM ended as {state}"
    if state in _REMEDIES:
        return SlurmEnd(f"{head}: {_REMEDIES[state].format(rule=rule)}", True, log)
    complaint = _complaint(text)
    return SlurmEnd(f"{head}: {complaint}" if complaint else head, False, log)


def _complaint(text: str) -> str:
    """The last error in what a job printed: of the stage's caller, or else of SLURM."""
    return error_line(text) or " ".join(_COMPLAINT.findall(text)[-1:])
