"""The same task with the Python packages: an uplift model of randomised rows, its scores out of fold, what they are worth.

Usage: learn_references.py hillstrom <CSV   the women's e-mail of Hillstrom's trial against none: a row for each learner
       learn_references.py SOCKET TENANT    the rows of bench/learn.sql: as much, and milliseconds with fetching
       learn_references.py made-up          numbers of src/uplift/learn/tests.rs, by the definitions in numpy

Packages: numpy, pandas, econml==0.17.0, scikit-uplift==0.5.1, lightgbm. The folds are learn_uplift()'s own, by a hash of
the property, so that every learner is judged on the same rows by the same models' absence.
"""

import hashlib
import math
import sys
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")
FOLDS = 5


def fold(property_id):
    return int.from_bytes(hashlib.sha256(property_id).digest()[:8], "big") % FOLDS


def metrics(score, treated, outcome, propensity):
    """AUTOC with its standard error, and the area of the Qini curve over n squared; equal scores count by their mean."""
    n = len(score)
    m1, m0 = outcome[treated == 1].mean(), outcome[treated == 0].mean()
    effect = m1 - m0 + treated / propensity * (outcome - m1) - (1 - treated) / (1 - propensity) * (outcome - m0)
    order = np.argsort(-score, kind="stable")
    effect, t, y, score = effect[order], treated[order], outcome[order], score[order]
    rank = np.arange(1, n + 1)
    harmonic = np.cumsum(1 / rank)
    weight = harmonic[-1] - np.r_[0, harmonic[:-1]] - 1
    group = np.r_[0, np.cumsum(np.diff(score) != 0)]
    weight = (np.bincount(group, weight) / np.bincount(group))[group]
    autoc = weight @ effect / n
    se = np.sqrt(np.mean((weight * (effect - effect.mean()) - autoc) ** 2) / n)
    nt, nc, yt, yc = np.cumsum(t), np.cumsum(1 - t), np.cumsum(t * y), np.cumsum((1 - t) * y)
    last = np.r_[np.flatnonzero(np.diff(group)), n - 1]
    curve = np.r_[0, (yt - np.where(nc > 0, yc / np.maximum(nc, 1), 0) * nt)[last]]
    x = np.r_[0, last + 1]
    area = np.sum(np.diff(x) * (curve[1:] + curve[:-1]) / 2) - n * curve[-1] / 2
    return autoc, se, area / n**2


def linear_dml():
    from econml.dml import LinearDML
    from sklearn.linear_model import LogisticRegression, Ridge

    model = LinearDML(model_y=Ridge(10.0), model_t=LogisticRegression(C=0.01), discrete_treatment=True, cv=2, random_state=0)
    return lambda x, t, y: (model.fit(y, t, X=x, inference=None), model.effect)[1]


def forest():
    from econml.dml import CausalForestDML
    from lightgbm import LGBMClassifier, LGBMRegressor

    small = {"n_estimators": 50, "num_leaves": 7, "verbose": -1, "n_jobs": 1}
    model = CausalForestDML(
        model_y=LGBMRegressor(**small), model_t=LGBMClassifier(**small), discrete_treatment=True, cv=2, n_estimators=200,
        min_samples_leaf=50, n_jobs=1, inference=False, random_state=0)
    return lambda x, t, y: (model.fit(y, t, X=x), model.effect)[1]


def dr_learner():
    from econml.dr import DRLearner
    from lightgbm import LGBMClassifier, LGBMRegressor

    small = {"n_estimators": 50, "num_leaves": 7, "verbose": -1, "n_jobs": 1}
    model = DRLearner(
        model_propensity=LGBMClassifier(**small), model_regression=LGBMRegressor(**small), model_final=LGBMRegressor(**small),
        cv=2, random_state=0)
    return lambda x, t, y: (model.fit(y, t, X=x), model.effect)[1]


def two_models():
    import pandas as pd
    from lightgbm import LGBMClassifier
    from sklift.models import TwoModels

    arms = [LGBMClassifier(n_estimators=50, num_leaves=7, verbose=-1, n_jobs=1) for _ in range(2)]
    model = TwoModels(*arms)
    return lambda x, t, y: (model.fit(pd.DataFrame(x), y, t), lambda z: model.predict(pd.DataFrame(z)))[1]


def class_transformation():
    import pandas as pd
    from lightgbm import LGBMClassifier
    from sklift.models import ClassTransformation

    model = ClassTransformation(LGBMClassifier(n_estimators=50, num_leaves=7, verbose=-1, n_jobs=1))
    return lambda x, t, y: (model.fit(pd.DataFrame(x), y, t), lambda z: model.predict(pd.DataFrame(z)))[1]


LEARNERS = {
    "econml LinearDML": linear_dml,
    "econml CausalForestDML": forest,
    "econml DRLearner, lightgbm": dr_learner,
    "scikit-uplift TwoModels, lightgbm": two_models,
    "scikit-uplift ClassTransformation, lightgbm": class_transformation,
}


def out_of_fold(learner, x, treated, outcome, folds):
    scores = np.zeros(len(outcome))
    for k in range(FOLDS):
        train, test = folds != k, folds == k
        scores[test] = np.ravel(learner()(x[train], treated[train], outcome[train])(x[test]))
    return scores


def standardised(frame):
    """Numbers in standard deviations, missing ones as the mean; texts as yes or no."""
    import pandas as pd

    numbers = frame.select_dtypes("number").astype(float)
    texts = pd.get_dummies(frame.select_dtypes(exclude="number"), drop_first=True).astype(float)
    numbers = ((numbers - numbers.mean()) / numbers.std(ddof=0)).fillna(0)
    return pd.concat([numbers.loc[:, numbers.abs().sum() > 0], texts], axis=1).to_numpy()


def hillstrom():
    import pandas as pd

    frame = pd.read_csv(sys.stdin)
    ids = [hashlib.md5(f"hillstrom {i}".encode()).digest() for i in range(1, len(frame) + 1)]
    frame["fold"] = [fold(i) for i in ids]
    frame = frame[frame["segment"] != "Mens E-Mail"]
    x = standardised(frame[["recency", "history", "mens", "womens", "newbie", "zip_code", "channel"]])
    return x, (frame["segment"] == "Womens E-Mail").to_numpy(int), frame["visit"].to_numpy(float), np.full(len(frame), 0.5), frame["fold"].to_numpy()


def logged(socket, tenant):
    import pandas as pd
    import psycopg2

    connection = psycopg2.connect(host=socket, port=5432, user="bench_app", dbname="bench")
    with connection.cursor() as cursor:
        cursor.execute("SET app.current_tenant = %s", (tenant,))
        cursor.execute("""SELECT d.property_id::text, d.treated::int, d.converted::int, d.propensity, f.building_age, f.roof_age,
                f.building_value::float8, f.roof_style, f.roof_material
            FROM stormops.storms AS s, stormops.randomised_decisions(s.storm_id) AS d
            JOIN stormops.storm_features(s.storm_id) AS f USING (property_id)""")
        frame = pd.DataFrame(cursor.fetchall(), columns=[
            "id", "treated", "outcome", "propensity", "building_age", "roof_age", "building_value", "roof_style", "roof_material"])
    folds = np.array([fold(bytes.fromhex(i.replace("-", ""))) for i in frame["id"]])
    x = standardised(frame.iloc[:, 4:].astype({"building_age": float, "roof_age": float, "building_value": float}))
    return x, frame["treated"].to_numpy(int), frame["outcome"].to_numpy(float), frame["propensity"].to_numpy(float), folds


class Draws:
    """As in src/statistics/draws.rs."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 11) / 2**53

    def normal(self):
        radius = math.sqrt(-2 * math.log(1 - self.next()))
        return radius * math.cos(self.next() * 2 * math.pi)


def made_up(seed, n, policy):
    """The rows of the tests: three numbers, a text, treated, outcome, propensity, fold."""
    draws, rows = Draws(seed), []
    for i in range(n):
        x = [draws.normal() for _ in range(3)]
        tin = draws.next() < 0.3
        p = (0.9 if x[0] > 0 else 0.06) if policy else 0.5
        treated = draws.next() < p
        effect = 0.05 + 0.04 * x[0] + 0.08 * max(x[1] - 0.4, 0) + (0.05 if tin else 0)
        outcome = draws.next() < 0.25 + 0.05 * x[1] + (effect if treated else 0)
        missing = draws.next() < 0.05
        rows.append((x[0], x[1], np.nan if missing else x[2], tin, treated, outcome, p, fold(bytes([7] * 8) + i.to_bytes(8, "big"))))
    return np.array(rows, float)


def columns(rows):
    """A constant; of each number a line, being missing, and bends; the text."""
    out = [np.ones(len(rows))]
    for j in range(3):
        x = rows[:, j]
        seen = x[~np.isnan(x)]
        z = np.where(np.isnan(x), 0, (x - seen.mean()) / seen.std())
        out.append(z)
        if len(seen) < len(x):
            out.append(np.isnan(x).astype(float))
        for third in (1, 2):
            bend = (np.sort(seen)[len(seen) * third // 3] - seen.mean()) / seen.std()
            out.append(np.where(np.isnan(x), 0, np.maximum(z - bend, 0)))
    out.append(1 - rows[:, 3])
    return np.array(out).T


def ridge(b, target, weight, strength):
    penalty = np.diag([0.0] + [strength] * (b.shape[1] - 1))
    return np.linalg.solve((b * weight[:, None]).T @ b + penalty, b.T @ (weight * target))


def print_made_up():
    rows = made_up(3, 3000, True)
    b, t, y, p, folds = columns(rows), rows[:, 4], rows[:, 5], rows[:, 6], rows[:, 7]
    weight, expected = (t - p) ** 2, np.zeros(len(rows))
    for k in range(FOLDS):
        arms = []
        for arm in (0, 1):
            train = (folds != k) & (t == arm)
            arms.append(ridge(b[train], y[train], weight[train], 10 * weight[train].mean()))
        test = folds == k
        expected[test] = (1 - p[test]) * (b[test] @ arms[1]) + p[test] * (b[test] @ arms[0])
    strength = 10 * weight.mean()
    beta = ridge(b, (y - expected) / (t - p), weight, strength)
    inverse = np.linalg.inv((b * weight[:, None]).T @ b + np.diag([0.0] + [strength] * (b.shape[1] - 1)))
    pull = ((t - p) * (y - expected - (t - p) * (b @ beta)))[:, None] * b
    n, width = b.shape
    covariance = inverse @ (pull.T @ pull) @ inverse * n / (n - 1) * (n - 1) / (n - width)
    print("coefficients", *map(repr, map(float, beta[[0, 1, 5, -1]])), "deviation of row 0", repr(float(np.sqrt(b[0] @ covariance @ b[0]))))


def main(source, *tenant):
    if source == "made-up":
        return print_made_up()
    learners = LEARNERS if source == "hillstrom" else {name: LEARNERS[name] for name in ("econml LinearDML", "scikit-uplift TwoModels, lightgbm")}
    for name, learner in learners.items():
        learner()  # loading the packages is not measured
        start = time.perf_counter()
        x, treated, outcome, propensity, folds = hillstrom_rows if source == "hillstrom" else logged(source, *tenant)
        scores = out_of_fold(learner, x, treated, outcome, folds)
        if source != "hillstrom":
            learner()(x, treated, outcome)  # the model that is kept
        found = metrics(scores, treated, outcome, propensity)
        took = 1000 * (time.perf_counter() - start)
        print(name, *(f"{value:.10g}" for value in found), f"{took:.0f}", sep="|", flush=True)


if __name__ == "__main__":
    hillstrom_rows = hillstrom() if sys.argv[1] == "hillstrom" else None
    main(*sys.argv[1:])
