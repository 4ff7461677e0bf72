-- Changes in numbers as they come. The declarations; the rest is Rust.

CREATE FUNCTION stormops.drift_points(
    stream double precision[], method text DEFAULT 'adwin', delta double precision DEFAULT NULL,
    threshold double precision DEFAULT NULL
) RETURNS TABLE (at bigint, mean_before double precision, mean_after double precision)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'stream_points_wrapper';
COMMENT ON FUNCTION stormops.drift_points(double precision[], text, double precision, double precision) IS 'Where the mean of numbers in the order of time (array_agg(x ORDER BY at)) is found to have changed: a row each, at = the element at which it is found, from 1; mean_before: the mean so far; mean_after: the mean of what is kept (adwin). method adwin: delta inside 0 to 1 (0.002), the chance of a false change at a look; page_hinkley: delta (0.005), the change that does not matter, and threshold (50), the sum of excesses that does, in units of the numbers. NULL, NaN and numbers of 1e100 and more are left out, but counted; a stream that is NULL has no elements. Errors: 22004; 22023.';

CREATE FUNCTION stormops.watch_drift(
    state bytea, stream double precision[], method text DEFAULT 'adwin', delta double precision DEFAULT NULL,
    threshold double precision DEFAULT NULL
) RETURNS TABLE (next_state bytea, n bigint, changes bigint[], mean double precision)
    LANGUAGE c IMMUTABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'stream_watch_wrapper';
COMMENT ON FUNCTION stormops.watch_drift(bytea, double precision[], text, double precision, double precision) IS 'The same a part at a time, without the elements before: one row with next_state to be kept (a bytea of at most 5 kB) and given with the next elements, n elements so far, changes among the new ones (counted from the very first), and the mean since the last change. state NULL: a new watch by method, delta and threshold as drift_points(); an old one keeps its own. Errors: 22004; 22023; 22P03 not a state.';
