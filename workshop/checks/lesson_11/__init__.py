"""The checks of lesson 11: a Dockerfile, a `docker run`, a compose.yaml and an nginx.conf.

`opening.py` makes the suite. It opens the `Texts` (`texts.py`) that the learner's functions
return, called by `driver.py` in a process of its own. Each file has a module that reads it and
one with its checks: `dockerfile.py` and `image.py` (TODO 1 and 2), `docker_run.py` and
`run_line.py` (3), `compose_file.py` (4), `nginx_file.py` and `front.py` (5 to 7). `proxy.py`
starts the learner's nginx.conf where there is an nginx, and `box.py` builds and runs the
Dockerfile where a container engine answers.
"""

from __future__ import annotations

# Imported for the checks in them: this is their order in the report.
# isort: off
from workshop.checks.lesson_11 import (  # noqa: F401
    image,
    run_line,
    compose_file,
    front,
)
# isort: on

from workshop.checks.lesson_11.opening import suite

__all__ = ["suite"]
