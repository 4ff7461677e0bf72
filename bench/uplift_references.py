"""The same answers with the Python packages: fetches the rows and computes. Prints two times in milliseconds.

Usage: uplift_references.py SOCKET_DIRECTORY
"""

import importlib.util
import pathlib
import sys
import time
import types

import numpy as np
import psycopg2
from scipy import stats
from scipy.spatial.distance import jensenshannon


def sklift_metrics():
    """scikit-uplift's metrics, without its plots, which want matplotlib."""
    place = pathlib.Path(importlib.util.find_spec("sklift").submodule_search_locations[0])
    utils = types.ModuleType("sklift_utils")
    exec((place / "utils" / "utils.py").read_text(), utils.__dict__)
    sys.modules["sklift_utils"] = utils
    metrics = types.ModuleType("sklift_metrics")
    exec((place / "metrics" / "metrics.py").read_text().replace("from ..utils", "from sklift_utils"), metrics.__dict__)
    return metrics


def drift(current, reference):
    stats.ks_2samp(current, reference, method="asymp")
    stats.wasserstein_distance(current, reference)
    stats.ttest_ind(current, reference, equal_var=False)
    edges = np.unique(np.quantile(reference, np.linspace(0.1, 0.9, 9)))
    counts = [np.bincount(np.searchsorted(edges, x, side="left"), minlength=len(edges) + 1) for x in (current, reference)]
    stats.chi2_contingency(counts)
    p, q = (c / c.sum() for c in counts)
    jensenshannon(p, q, base=2)
    return float(np.sum((p - q) * np.log(p / q)))


def rate(score, treated, outcome, propensity):
    """AUTOC and QINI with their errors; scores are distinct."""
    n = len(score)
    m1, m0 = outcome[treated == 1].mean(), outcome[treated == 0].mean()
    effect = m1 - m0 + treated / propensity * (outcome - m1) - (1 - treated) / (1 - propensity) * (outcome - m0)
    effect = effect[np.argsort(-score, kind="stable")]
    rank = np.arange(1, n + 1)
    harmonic = np.cumsum(1 / rank)
    weights = [harmonic[-1] - np.r_[0, harmonic[:-1]] - 1, ((n + 1) / 2 - rank) / n]
    return [(w @ effect / n, np.sqrt(np.mean((w * (effect - effect.mean()) - w @ effect / n) ** 2) / n)) for w in weights]


def timed(work):
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def main(socket):
    connection = psycopg2.connect(host=socket, port=5432, user="postgres", dbname="bench")
    metrics = sklift_metrics()

    def fetch(columns):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM scored")
            return np.array(cursor.fetchall(), dtype=float).T

    def summary():
        score, treated, outcome, propensity = fetch("uplift, treated::integer, outcome, propensity")
        y, t = outcome.astype(int), treated.astype(int)
        metrics.qini_auc_score(y, score, t)
        metrics.uplift_auc_score(y, score, t)
        for k in (0.1, 0.2, 0.3):
            metrics.uplift_at_k(y, score, t, strategy="overall", k=k)
        metrics.uplift_by_percentile(y, score, t, bins=10)
        rate(score, treated, outcome, propensity)

    print(timed(lambda: drift(*fetch("uplift, before"))), timed(summary))


if __name__ == "__main__":
    main(sys.argv[1])
