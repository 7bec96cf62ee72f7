"""A worker of rolling.py: observed_server.py on an inherited socket. rolling.py starts it.

It prints `ready` when it serves, and leaves when its standard input ends, because rolling.py
has closed it or has itself ended.
"""

import asyncio
import dataclasses
import os
import signal
import socket
import sys

import log as logs
import uvicorn
from observed_server import create_app
from running import configured, end_with_status_0
from settings import Settings

# While another worker serves new clients, this one can take its time for running calls, and for
# requests on connections that it has already accepted.
PATIENT = {"FINISH_SECONDS": "30", "NOTICE_SECONDS": "0.2"}


class Worker(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self.input_has_ended)
        print("ready", flush=True)

    def input_has_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        signal.raise_signal(signal.SIGTERM)

    def stop_accepting(self) -> None:
        """From now on the system gives new connections to the other worker.

        Nobody is refused: the socket is open for as long as one process has it.
        """
        for server in self.servers:
            server.close()


def main() -> None:
    if len(sys.argv) != 3 or not sys.argv[1].isdigit():
        sys.exit("Start rolling.py: it starts this program, with a socket.")
    inherited, name = sys.argv[1:]
    # Name the protocol, as in running.py: it turns off Nagle's algorithm.
    listener = socket.socket(proto=socket.IPPROTO_TCP, fileno=int(inherited))
    settings = Settings.from_environment(PATIENT | dict(os.environ))
    hosts = settings.allowed_hosts | {name}
    settings = dataclasses.replace(settings, allowed_hosts=hosts)

    end_with_status_0()
    worker = Worker(configured(create_app(settings, lambda: worker.stop_accepting())))
    logs.configure(settings.log_level, worker=os.getpid())
    worker.run(sockets=[listener])


if __name__ == "__main__":
    main()
