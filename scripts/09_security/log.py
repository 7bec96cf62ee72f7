"""What may be written into a log: no value of a query string."""

import logging
import re


def hide_secrets(record: logging.LogRecord) -> bool:
    """For uvicorn's access log: reading a log must not let anyone use a session or a ticket."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            # Every value: a name may also be written %73ession_id.
            re.sub("=[^&]+", "=…", value) if isinstance(value, str) else value
            for value in record.args
        )
    return True
