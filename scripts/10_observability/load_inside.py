"""What a server says about itself at /metrics, to compare with what its clients measured."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp
from load_servers import memory_of, processor_seconds_of
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

METRICS_SECONDS = 5.0


@dataclass(frozen=True)
class Inside:
    """What the server does not say is None, or empty."""

    calls: float | None = None  # of tools
    buckets: Counter[float] = field(default_factory=Counter)  # calls up to so many seconds
    memory: float | None = None  # in bytes
    processor_seconds: float | None = None
    began: float | None = None  # when its process began, in seconds since 1970

    def calls_since(self, before: Inside) -> float | None:
        return self.grown(before, self.calls, before.calls)

    def processor_seconds_since(self, before: Inside) -> float | None:
        return self.grown(before, self.processor_seconds, before.processor_seconds)

    def grown(self, before: Inside, now: float | None, then: float | None) -> float | None:
        # After a restart it is another process, which counts from 0.
        if now is None or then is None or self.began != before.began:
            return None
        return now - then

    def slowest_since(self, before: Inside, share: float) -> float | None:
        """The bucket that this share of the calls is in. A histogram knows no more."""
        if self.began != before.began:
            return None
        added = {bound: n - before.buckets[bound] for bound, n in self.buckets.items()}
        total = max(added.values(), default=0.0)
        if not total:
            return None
        return min(bound for bound, n in added.items() if n >= share * total)


async def look_inside(http: aiohttp.ClientSession, url: str, pid: int | None) -> Inside:
    """Ask /metrics next to the stream's URL, and the system about a process that we started."""
    families = {family.name: family.samples for family in await read_metrics(http, url)}
    calls: float | None = None
    buckets: Counter[float] = Counter()
    if "mcp_tool_seconds" in families:
        calls = 0.0
        for sample in families["mcp_tool_seconds"]:  # one for each tool, outcome and bucket
            if sample.name.endswith("_count"):
                calls += sample.value
            elif sample.name.endswith("_bucket"):
                buckets[float(sample.labels["le"])] += int(sample.value)
    if pid is not None:
        return Inside(calls, buckets, memory_of(pid), processor_seconds_of(pid))
    return Inside(
        calls,
        buckets,
        first(families.get("process_resident_memory_bytes")),
        first(families.get("process_cpu_seconds")),
        first(families.get("process_start_time_seconds")),
    )


async def read_metrics(http: aiohttp.ClientSession, url: str) -> list[Metric]:
    """Nothing, if the server has no metrics or does not answer."""
    parts = urlsplit(url)
    path = parts.path.rpartition("/")[0] + "/metrics"
    timeout = aiohttp.ClientTimeout(total=METRICS_SECONDS)
    try:
        async with http.get(
            parts._replace(path=path, query="").geturl(), timeout=timeout
        ) as answer:
            if answer.status != 200:
                return []
            return list(text_string_to_metric_families(await answer.text()))
    except (aiohttp.ClientError, OSError, ValueError):
        return []


def first(samples: list[Sample] | None) -> float | None:
    return samples[0].value if samples else None
