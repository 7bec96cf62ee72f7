"""A quantile of a histogram, as `histogram_quantile` of Prometheus estimates it.

A histogram only knows how many values fell into each of its buckets. The quantile is in one of
them, and its rank says how far along. Beyond the last limit nothing is known: then the answer
is that limit, whatever the values were.
"""

from itertools import pairwise

from prometheus_client import Histogram


def quantile(q: float, histogram: Histogram) -> float:
    """The estimate, for a histogram without labels. It is 0 if nothing has been counted."""
    (metric,) = histogram.collect()
    buckets = [(0.0, 0.0)] + [
        (float(sample.labels["le"]), sample.value)  # how many values are at most `le`
        for sample in metric.samples
        if sample.name.endswith("_bucket")
    ]
    rank = q * buckets[-1][1]
    for (lower, below), (upper, up_to_here) in pairwise(buckets):
        if below < rank <= up_to_here:
            if upper == float("inf"):
                return lower
            return lower + (upper - lower) * (rank - below) / (up_to_here - below)
    return 0.0
