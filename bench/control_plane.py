"""A control plane outside the database: fetches the scores, decides, inserts. Prints its milliseconds.

Usage: control_plane.py SOCKET_DIRECTORY TENANT STORM
"""

import random
import sys
import time

import psycopg2
from psycopg2.extras import execute_values

FETCH = """
SELECT DISTINCT ON (u.property_id)
  u.property_id, u.uplift, coalesce(u.uplift_sd, 0.05), u.model_version, p.do_not_contact
FROM stormops.lead_uplift AS u
JOIN stormops.properties AS p ON p.tenant_id = u.tenant_id AND p.property_id = u.property_id
WHERE u.tenant_id = %s AND u.storm_id = %s AND p.status = 'active'
ORDER BY u.property_id DESC, u.scored_at DESC, u.model_version DESC
"""
INSERT = """
INSERT INTO bare (tenant_id, run_id, property_id, storm_id, decided_at, propensity, score, score_sd, value, decision,
  reason, policy_mode, model_version) VALUES %s
"""
BREAKEVEN, HOLDOUT, EXPLORATION = 0.05, 0.10, 0.05


def decide(score, do_not_contact):
    """The mode `moderate` of apply_policy(): decision, reason, propensity."""
    if do_not_contact:
        return "exclude", "do_not_contact", 1.0
    wanted = score > BREAKEVEN
    treat_rate = (1 - HOLDOUT) * (1 - EXPLORATION if wanted else EXPLORATION)
    if random.random() < HOLDOUT:
        return "hold", "holdout", 1 - treat_rate
    if random.random() < EXPLORATION:
        return ("hold", "explore_hold", 1 - treat_rate) if wanted else ("treat", "explore_treat", treat_rate)
    return ("treat", "above_threshold", treat_rate) if wanted else ("hold", "below_threshold", 1 - treat_rate)


def main(socket, tenant, storm):
    connection = psycopg2.connect(host=socket, port=5432, user="postgres", dbname="bench")
    cursor = connection.cursor()
    start = time.perf_counter()
    cursor.execute("SELECT now()")
    (now,) = cursor.fetchone()
    cursor.execute(FETCH, (tenant, storm))
    rows = []
    for property_id, score, score_sd, model_version, do_not_contact in cursor.fetchall():
        decision, reason, propensity = decide(score, do_not_contact)
        rows.append((tenant, tenant, property_id, storm, now, propensity, score, score_sd, score - BREAKEVEN, decision,
                     reason, "moderate", model_version))
    execute_values(cursor, INSERT, rows)
    connection.commit()
    print(1000 * (time.perf_counter() - start))


main(*sys.argv[1:])
