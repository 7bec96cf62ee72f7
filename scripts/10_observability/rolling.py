"""A rolling restart on one machine: a new worker serves, the old one finishes and leaves.

    uv run scripts/10_observability/rolling.py

This process opens the socket once, and does not serve clients itself. Its workers inherit the
socket. As long as any process has it open, no client is refused: one that comes while no worker
serves waits in the system's queue. On Enter, or SIGHUP, another worker takes over.

A session is in the memory of its worker. If a POST for it reaches the new worker, on a new
connection, the answer is 404: a 202 would promise a reply that this worker can't give. The
client then does what it would do a little later anyway, when its stream ends: it opens another
stream and initializes. Lesson 12 keeps sessions where every worker finds them.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from running import listen, more_files, name_of, options

WORKER = Path(__file__).with_name("rolling_worker.py")
START_SECONDS = 20.0  # for a worker to start
LEAVE_SECONDS = 60.0  # for an old worker to finish before it is killed
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # before a worker that died is replaced


def say(text: str) -> None:
    print(text, flush=True)


class Rolling:
    """The worker that serves, and those that are on their way out."""

    def __init__(self, listener: socket.socket, name: str) -> None:
        self.listener = listener
        self.name = name
        self.processes: set[Process] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.restart = asyncio.Event()
        self.leaving = False

    async def start(self) -> Process | None:
        """Start a worker. None if it fails, and has said why, or if it takes too long."""
        fd = self.listener.fileno()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            WORKER,
            str(fd),
            self.name,
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=[fd],
            # In a terminal, Ctrl-C goes to all programs in the foreground. Here it is only for
            # us: we stop the workers ourselves.
            start_new_session=True,
        )
        self.processes.add(process)
        assert process.stdout is not None
        said = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                said = await process.stdout.readline()
        if said == b"ready\n":
            say(f"worker {process.pid} serves")
            return process
        say(f"worker {process.pid} did not start: see above")
        await self.end(process, seconds=0)
        return None

    async def see_off(self, process: Process) -> None:
        began = time.monotonic()
        await self.end(process, LEAVE_SECONDS)
        say(f"worker {process.pid} has left after {time.monotonic() - began:.1f} s")

    async def end(self, process: Process, seconds: float) -> None:
        """Tell a worker to leave, and wait for it."""
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):  # it may have left just now
                process.kill()
            await process.wait()
        self.processes.discard(process)

    async def run(self) -> None:
        """One worker after the other, until cancelled."""
        worker = await self.start()
        if worker is None:
            sys.exit(1)
        say(f"Serving MCP on http://{self.name}/sse. In another terminal:")
        say(f"  curl -N http://{self.name}/sse")
        say(f"For a rolling restart press Enter here, or type: kill -HUP {os.getpid()}")
        pause = FIRST_PAUSE
        while True:
            began = time.monotonic()
            if not await self.wants_restart(worker):
                if time.monotonic() - began > LONGEST_PAUSE:
                    pause = FIRST_PAUSE
                worker, pause = await self.replace(worker, pause)
                continue
            # The new worker reads its code now: a wish that comes later is for one more.
            self.restart.clear()
            say(f"worker {worker.pid} will be replaced")
            another = await self.start()
            if another is None:
                say(f"worker {worker.pid} goes on serving")
            else:
                leaving = asyncio.create_task(self.see_off(worker))
                self.tasks.add(leaving)  # the event loop does not keep a task alive
                leaving.add_done_callback(self.tasks.discard)
                worker = another

    async def wants_restart(self, worker: Process) -> bool:
        """Wait until a restart is wanted, or until the worker ends."""
        asked = asyncio.create_task(self.restart.wait())
        died = asyncio.create_task(worker.wait())
        try:
            await asyncio.wait((asked, died), return_when=asyncio.FIRST_COMPLETED)
            return not died.done()
        finally:
            asked.cancel()
            died.cancel()

    async def replace(self, worker: Process, pause: float) -> tuple[Process, float]:
        """Start a worker for one that died. If it fails, too, the pauses get longer."""
        say(f"worker {worker.pid} died with status {worker.returncode}")
        self.processes.discard(worker)
        while True:
            say(f"another one in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            another = await self.start()
            if another is not None:
                return another, pause

    async def end_all(self) -> None:
        """Within two seconds: give calls a moment to finish, then send errors, then end."""
        processes = list(self.processes)
        ending = [asyncio.create_task(self.end(process, seconds=1.7)) for process in processes]
        _, still = await asyncio.wait(ending, timeout=0.5) if ending else (set(), set())
        if still:
            self.hurry()
            await asyncio.wait(still)

    def hurry(self) -> None:
        """A worker that is leaving gets SIGTERM as a second signal, and stops waiting."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()


async def roll(listener: socket.socket, name: str) -> None:
    rolling = Rolling(listener, name)
    running = asyncio.create_task(rolling.run())
    loop = asyncio.get_running_loop()

    def leave() -> None:
        if rolling.leaving:
            rolling.hurry()
        rolling.leaving = True
        running.cancel()

    def hung_up() -> None:
        """SIGHUP asks for a restart, unless it comes because the terminal was closed."""
        if in_terminal and not sys.stdin.isatty():
            leave()
        else:
            rolling.restart.set()

    def typed() -> None:
        try:
            read = os.read(sys.stdin.fileno(), 1024)
            if b"\n" in read:
                rolling.restart.set()
            elif not read:  # its end: a terminal that is gone says so again and again
                loop.remove_reader(sys.stdin.fileno())
        except OSError:  # in the background, we may not read from the terminal
            loop.remove_reader(sys.stdin.fileno())

    in_terminal = sys.stdin.isatty()
    if in_terminal:
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)
        loop.add_reader(sys.stdin.fileno(), typed)
    loop.add_signal_handler(signal.SIGINT, leave)
    loop.add_signal_handler(signal.SIGTERM, leave)
    loop.add_signal_handler(signal.SIGHUP, hung_up)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await running
    finally:
        await rolling.end_all()


def main() -> None:
    if sys.platform == "win32":
        sys.exit("On Windows a program can't pass on its socket like this: try it in WSL.")
    chosen, _ = options(8020)
    if sys.stdin is None:  # closed by `<&-`: then the socket would get its number
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    listener = listen(chosen.host, chosen.port)
    more_files()
    asyncio.run(roll(listener, name_of(chosen.host, listener)))


if __name__ == "__main__":
    main()
