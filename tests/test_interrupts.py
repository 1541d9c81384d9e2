"""Requests to stop: which count, which are passed on, and what a command ends with."""

import os
import signal
import subprocess
import sys

import pytest

from climsim.interrupts import interrupted, on_interrupt, wait_for

POLITE = """
import signal, sys
asks = (signal.SIGINT, signal.SIGTERM)
signal.pthread_sigmask(signal.SIG_BLOCK, asks)
print(flush=True)
sys.exit(100 + signal.sigwait(asks))
"""
"""A process that waits for a signal, and ends with a code of its own."""


def send(*numbers):
    for number in numbers:
        os.kill(os.getpid(), number)


def test_one_request_that_comes_several_ways_counts_once():
    seen = []
    with on_interrupt(seen.append):
        send(signal.SIGTERM, signal.SIGTERM, signal.SIGHUP)
    assert seen == [signal.SIGTERM]


def test_ctrl_c_asks_again():
    seen = []
    with on_interrupt(seen.append):
        send(signal.SIGINT, signal.SIGTERM, signal.SIGINT)
    assert seen == [signal.SIGINT, signal.SIGINT]


def test_what_was_started_to_ignore_a_closed_terminal_still_does(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    seen = []
    try:
        with on_interrupt(seen.append):
            send(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == []


@pytest.mark.parametrize("own_group", [False, True])
def test_interrupt_is_passed_on_and_the_process_waited_for(own_group):
    process = subprocess.Popen(
        [sys.executable, "-c", POLITE], stdout=subprocess.PIPE, start_new_session=own_group
    )
    process.stdout.readline()
    signal.signal(signal.SIGALRM, lambda *_: send(signal.SIGTERM))
    with on_interrupt(interrupted), pytest.raises(KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        wait_for(process)
    assert process.returncode == 100 + signal.SIGTERM
    process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_command_that_is_ended_says_how_to_continue(number, capsys, monkeypatch):
    from climsim import cli

    monkeypatch.setattr(cli.main_group, "main", lambda **_: send(number))
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor"])
    assert ended.value.code == 130
    assert "stopped; run the same command again to finish" in capsys.readouterr().err
