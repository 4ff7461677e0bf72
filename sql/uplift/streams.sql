-- Changes in numbers as they come. The declarations; the rest is Rust.

CREATE FUNCTION stormops.drift_points(
    stream double precision[], method text DEFAULT 'adwin', delta double precision DEFAULT NULL,
    threshold double precision DEFAULT NULL
) RETURNS TABLE (at bigint, mean_before double precision, mean_after double precision)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'stream_points_wrapper';
COMMENT ON FUNCTION stormops.drift_points(double precision[], text, double precision, double precision) IS 'Where the mean of a series in time order (array_agg(x ORDER BY at)) changed, a row each: at (element, from 1), mean_before, mean_after. method adwin: delta inside 0 to 1; page_hinkley: delta: change to ignore, threshold: sum of excesses, in units of the numbers. NULL, NaN and numbers of 1e100 and more are skipped but counted. Errors: 22004; 22023 method, delta or threshold.';

CREATE FUNCTION stormops.watch_drift(
    state bytea, stream double precision[], method text DEFAULT 'adwin', delta double precision DEFAULT NULL,
    threshold double precision DEFAULT NULL
) RETURNS TABLE (next_state bytea, n bigint, changes bigint[], mean double precision)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'stream_watch_wrapper';
COMMENT ON FUNCTION stormops.watch_drift(bytea, double precision[], text, double precision, double precision) IS 'drift_points() a part at a time: one row with next_state (bytea, up to 5 kB; keep it and give it with the next elements), n (elements so far), changes (found among the new ones, counted from the first element), mean (since the last change). state NULL: a new watch by method, delta and threshold; else its own hold. Errors: 22004; 22023 an argument; 22P03 not a state.';
