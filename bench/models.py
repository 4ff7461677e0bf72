"""Scores a storm with onnxruntime outside the database, on one thread: fetches the features, runs the model, writes the scores
back. Prints milliseconds: all of it, and the evaluation alone.

Usage: models.py SOCKET_DIRECTORY TENANT STORM MODEL
       models.py --train MODEL: a LightGBM model of 100 trees and its features' order, to MODEL
       models.py --evaluate MODEL ROWS: 1,000,000 rows of ROWS (float32), milliseconds of the best of three runs
"""

import io
import sys
import time

import numpy as np

NUMBERS = ["roof_age", "building_age", "building_value", "longitude", "latitude", "touches"]
BATCH = 10_000


def train(path):
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    r = np.random.default_rng(1)
    n = 20_000
    x = np.stack([r.integers(0, 75, n), r.integers(10, 125, n), r.integers(50_000, 450_000, n), -93.6 - r.random(n) / 10,
                  42 + r.random(n) / 10, np.zeros(n)], 1).astype(np.float32)
    y = 0.2 / (1 + np.exp(-(x[:, 0] - 30) / 10)) - 0.05 * np.sin(x[:, 2] / 50_000) + 0.3 * (x[:, 3] + 93.65) + 0.02 * r.normal(size=n)
    model = lightgbm.LGBMRegressor(n_estimators=100, verbose=-1, n_jobs=1).fit(x, y)
    with open(path, "wb") as file:
        file.write(convert_lightgbm(model, initial_types=[("x", FloatTensorType([None, 6]))], target_opset=15).SerializeToString())


def session(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def evaluate(model, x):
    start = time.perf_counter()
    scores = [model.run(None, {"x": x[i:i + BATCH]})[0][:, 0] for i in range(0, len(x), BATCH)]
    return np.concatenate(scores), 1000 * (time.perf_counter() - start)


def score(socket, tenant, storm, path):
    import psycopg2

    model = session(path)
    connection = psycopg2.connect(host=socket, port=5432, user="bench_app", dbname="bench")
    cursor = connection.cursor()
    cursor.execute("SELECT stormops.enter_tenant(%s)", (tenant,))
    start = time.perf_counter()
    fetched = io.StringIO()
    names = ", ".join(NUMBERS)
    cursor.copy_expert(f"COPY (SELECT property_id, {names} FROM stormops.storm_features('{storm}')) TO STDOUT (FORMAT csv)", fetched)
    fetched.seek(0)
    ids, rows = [], []
    for line in fetched:
        fields = line.rstrip("\n").split(",")
        ids.append(fields[0])
        rows.append([float(field or "nan") for field in fields[1:]])
    scores, evaluated = evaluate(model, np.array(rows, np.float32))
    # COPY FROM is not allowed under row security: a temporary table in between, as docs/clients.md has it.
    cursor.execute("CREATE TEMP TABLE scored (property_id uuid, uplift double precision) ON COMMIT DROP")
    written = io.StringIO("".join(f"{i}\t{s}\n" for i, s in zip(ids, scores)))
    cursor.copy_expert("COPY scored FROM STDIN", written)
    cursor.execute("INSERT INTO stormops.lead_uplift (storm_id, property_id, model_version, uplift) SELECT %s, property_id, 'python', uplift FROM scored", (storm,))
    connection.commit()
    print(1000 * (time.perf_counter() - start), evaluated)


if sys.argv[1] == "--train":
    train(sys.argv[2])
elif sys.argv[1] == "--evaluate":
    model, rows = session(sys.argv[2]), np.fromfile(sys.argv[3], np.float32).reshape(-1, len(NUMBERS))
    print(min(evaluate(model, rows)[1] for _ in range(3)))
else:
    score(*sys.argv[1:])
