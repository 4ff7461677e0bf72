CREATE TABLE IF NOT EXISTS stormops.attribution_days (
    tenant_id     uuid NOT NULL,
    storm_id      uuid NOT NULL,
    day           date NOT NULL CHECK (isfinite(day)),
    model         text NOT NULL CHECK (model IN ('first', 'last', 'linear', 'time_decay', 'position', 'shapley')),
    channel       text NOT NULL CHECK (char_length(channel) <= 50),
    credit        double precision NOT NULL CHECK (credit >= 0 AND credit < 'Infinity'),
    value         double precision NOT NULL CHECK (value >= 0 AND value < 'Infinity'),
    journeys      bigint NOT NULL CHECK (journeys >= 0),
    touches       bigint NOT NULL CHECK (touches >= 0),
    computed_at   timestamptz NOT NULL CHECK (isfinite(computed_at)),
    PRIMARY KEY (tenant_id, storm_id, day, model, channel),
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms
);
CREATE INDEX IF NOT EXISTS attribution_days_day ON stormops.attribution_days (tenant_id, day);
COMMENT ON TABLE stormops.attribution_days IS 'Conversions of each day credited to channels, model by model, with the default lookback and half-life. Written by attribute_days(); days add up to what attribute_conversions() gives. No markov: a chain''s credits are of a whole storm.';
COMMENT ON COLUMN stormops.attribution_days.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.attribution_days.storm_id IS 'The storm, of the same tenant.';
COMMENT ON COLUMN stormops.attribution_days.day IS 'Day (UTC) of the conversions.';
COMMENT ON COLUMN stormops.attribution_days.model IS 'first, last, linear, time_decay, position or shapley.';
COMMENT ON COLUMN stormops.attribution_days.channel IS 'The channel; empty: converted without a touch within the lookback.';
COMMENT ON COLUMN stormops.attribution_days.credit IS 'Conversions credited: a day''s channels add up to its conversions.';
COMMENT ON COLUMN stormops.attribution_days.value IS 'Worth of those conversions in the tenant''s currency, shared alike: an estimate.';
COMMENT ON COLUMN stormops.attribution_days.journeys IS 'Properties that converted on that day and were touched by the channel.';
COMMENT ON COLUMN stormops.attribution_days.touches IS 'Those touches.';
COMMENT ON COLUMN stormops.attribution_days.computed_at IS 'When the row was written or last changed.';
