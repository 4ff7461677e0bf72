CREATE TABLE IF NOT EXISTS stormops.storms (
    tenant_id     uuid NOT NULL REFERENCES stormops.tenants,
    storm_id      uuid NOT NULL,
    event_id      text NOT NULL CHECK (char_length(event_id) BETWEEN 1 AND 100),
    name          text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
    status        text NOT NULL DEFAULT 'active' CHECK (status IN ('forecast', 'active', 'closed')),
    peril         text NOT NULL DEFAULT 'unknown' CHECK (peril IN ('hail', 'wind', 'hail_and_wind', 'tornado', 'hurricane', 'unknown')),
    hail_size_in  numeric(4, 2) CHECK (hail_size_in BETWEEN 0 AND 12),
    wind_gust_mph numeric(4, 1) CHECK (wind_gust_mph BETWEEN 0 AND 350),
    west          double precision CHECK (west BETWEEN -180 AND 180),
    south         double precision CHECK (south BETWEEN -90 AND 90),
    east          double precision CHECK (east BETWEEN -180 AND 180),
    north         double precision CHECK (north BETWEEN -90 AND 90),
    started_at    timestamptz CHECK (isfinite(started_at)),
    ended_at      timestamptz CHECK (isfinite(ended_at)),
    created_at    timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    PRIMARY KEY (tenant_id, storm_id),
    UNIQUE (tenant_id, event_id),
    CHECK (ended_at >= started_at),
    CHECK (north >= south),
    CHECK (num_nulls(west, south, east, north) IN (0, 4))
);
ALTER TABLE stormops.storms ALTER COLUMN storm_id SET DEFAULT stormops.new_id();
-- 0.2.0: a whole row may be written, as mappers of objects do; what role_matrix() does not name keeps its value.
CREATE OR REPLACE TRIGGER given_once BEFORE UPDATE OF tenant_id, storm_id, created_at ON stormops.storms
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.given_once('tenant_id', 'storm_id', 'created_at');
COMMENT ON TABLE stormops.storms IS 'Storm events, each tenant its own.';
COMMENT ON COLUMN stormops.storms.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.storms.storm_id IS 'UUID; version 7 by default.';
COMMENT ON COLUMN stormops.storms.event_id IS 'The tenant''s or the weather service''s own name of the event; unique within the tenant.';
COMMENT ON COLUMN stormops.storms.name IS 'Name for people to read, 1 to 200 characters.';
COMMENT ON COLUMN stormops.storms.status IS 'forecast, active or closed; no policy is applied to a closed storm.';
COMMENT ON COLUMN stormops.storms.peril IS 'hail, wind, hail_and_wind, tornado, hurricane or unknown.';
COMMENT ON COLUMN stormops.storms.hail_size_in IS 'Largest hail diameter, inches, 0 to 12.';
COMMENT ON COLUMN stormops.storms.wind_gust_mph IS 'Peak gust, miles per hour, 0 to 350.';
COMMENT ON COLUMN stormops.storms.west IS 'Bounding box, degrees of longitude (WGS 84). West may exceed east across the date line. All four sides or none.';
COMMENT ON COLUMN stormops.storms.south IS 'Bounding box, degrees of latitude (WGS 84).';
COMMENT ON COLUMN stormops.storms.east IS 'Bounding box, degrees of longitude (WGS 84).';
COMMENT ON COLUMN stormops.storms.north IS 'Bounding box, degrees of latitude (WGS 84).';
COMMENT ON COLUMN stormops.storms.started_at IS 'When the storm reached the area.';
COMMENT ON COLUMN stormops.storms.ended_at IS 'When it had left it.';
COMMENT ON COLUMN stormops.storms.created_at IS 'When the row was written.';

CREATE TABLE IF NOT EXISTS stormops.properties (
    tenant_id      uuid NOT NULL REFERENCES stormops.tenants,
    property_id    uuid NOT NULL,
    external_id    text CHECK (char_length(external_id) BETWEEN 1 AND 100),
    address        text CHECK (char_length(address) BETWEEN 1 AND 300),
    longitude      double precision CHECK (longitude BETWEEN -180 AND 180),
    latitude       double precision CHECK (latitude BETWEEN -90 AND 90),
    roof_style     text CHECK (char_length(roof_style) BETWEEN 1 AND 50),
    roof_material  text CHECK (char_length(roof_material) BETWEEN 1 AND 50),
    year_built     smallint CHECK (year_built BETWEEN 1600 AND 2200),
    roof_year      smallint CHECK (roof_year BETWEEN 1600 AND 2200),
    building_value numeric(14, 2) CHECK (building_value BETWEEN 0 AND 1e11),
    job_margin     numeric(12, 2) CHECK (job_margin > 0 AND job_margin <= 1e9),
    contact_cost   numeric(12, 2) CHECK (contact_cost >= 0 AND contact_cost <= 1e9),
    do_not_contact boolean NOT NULL DEFAULT false,
    status         text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'archived')),
    created_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(created_at)),
    PRIMARY KEY (tenant_id, property_id),
    UNIQUE (tenant_id, external_id),
    CHECK ((longitude IS NULL) = (latitude IS NULL))
);
-- Where new rows lie: rows stand in the order in which they came, so this is small, costs a writer next to
-- nothing, and lets a check read only what is new.
CREATE INDEX IF NOT EXISTS properties_arrival ON stormops.properties USING brin (tenant_id, created_at) WITH (pages_per_range = 32, autosummarize = on);
-- 0.2.0: the few that a policy must know of, as policy_exceptions() asks for them.
CREATE INDEX IF NOT EXISTS properties_exceptions ON stormops.properties (tenant_id, property_id)
    WHERE status <> 'active' OR do_not_contact OR job_margin IS NOT NULL OR contact_cost IS NOT NULL;
ALTER TABLE stormops.properties ALTER COLUMN property_id SET DEFAULT stormops.new_id();
-- 0.2.0: a whole row may be written, as mappers of objects do; what role_matrix() does not name keeps its value.
CREATE OR REPLACE TRIGGER given_once BEFORE UPDATE OF tenant_id, property_id, created_at ON stormops.properties
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.given_once('tenant_id', 'property_id', 'created_at');
-- 0.2.0: where the crews that work it are short.
ALTER TABLE stormops.properties ADD COLUMN IF NOT EXISTS area text CHECK (char_length(area) BETWEEN 1 AND 50);
COMMENT ON TABLE stormops.properties IS 'Buildings with their roofs. Archived, never deleted: decisions and outcomes refer to them.';
COMMENT ON COLUMN stormops.properties.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.properties.property_id IS 'UUID; version 7 by default.';
COMMENT ON COLUMN stormops.properties.external_id IS 'The tenant''s own key for integration; unique within the tenant.';
COMMENT ON COLUMN stormops.properties.address IS 'Postal address, 1 to 300 characters.';
COMMENT ON COLUMN stormops.properties.longitude IS 'Degrees (WGS 84). Both coordinates or none.';
COMMENT ON COLUMN stormops.properties.latitude IS 'Degrees (WGS 84).';
COMMENT ON COLUMN stormops.properties.roof_style IS 'gable, hip, flat, ...';
COMMENT ON COLUMN stormops.properties.roof_material IS 'composition shingle, metal, wood shake, ...';
COMMENT ON COLUMN stormops.properties.year_built IS 'Year of construction.';
COMMENT ON COLUMN stormops.properties.roof_year IS 'Year of the present roof: its age is the storm''s year less this.';
COMMENT ON COLUMN stormops.properties.building_value IS 'Value of the building, in the tenant''s currency.';
COMMENT ON COLUMN stormops.properties.job_margin IS 'Margin expected from a job on this roof; overrides the policy mode''s margin.';
COMMENT ON COLUMN stormops.properties.contact_cost IS 'Cost of treating this property; overrides the policy mode''s contact cost.';
COMMENT ON COLUMN stormops.properties.do_not_contact IS 'True: every policy excludes the property.';
COMMENT ON COLUMN stormops.properties.status IS 'active or archived; no policy decides an archived property.';
COMMENT ON COLUMN stormops.properties.created_at IS 'When the row was written.';
COMMENT ON COLUMN stormops.properties.area IS 'The tenant''s own name of the area, such as a postal code, 1 to 50 characters; guardrails of kind area_capacity go by it. NULL: by the square of 0.01 degree that it lies in.';

CREATE TABLE IF NOT EXISTS stormops.customer_journeys (
    tenant_id   uuid NOT NULL,
    journey_id  uuid NOT NULL,
    property_id uuid NOT NULL,
    storm_id    uuid,
    touch       text NOT NULL CHECK (char_length(touch) BETWEEN 1 AND 50),
    channel     text NOT NULL CHECK (char_length(channel) BETWEEN 1 AND 50),
    direction   text NOT NULL DEFAULT 'outbound' CHECK (direction IN ('outbound', 'inbound')),
    occurred_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(occurred_at)),
    value       numeric(14, 2) CHECK (value BETWEEN 0 AND 1e11),
    PRIMARY KEY (tenant_id, journey_id),
    FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties,
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms
);
CREATE INDEX IF NOT EXISTS customer_journeys_property ON stormops.customer_journeys (tenant_id, property_id, occurred_at);
CREATE INDEX IF NOT EXISTS customer_journeys_storm ON stormops.customer_journeys (tenant_id, storm_id, occurred_at);
-- Where new rows lie: rows stand in the order in which they came, so this is small, costs a writer next to
-- nothing, and lets a check read only what is new.
CREATE INDEX IF NOT EXISTS customer_journeys_arrival ON stormops.customer_journeys USING brin (tenant_id, occurred_at) WITH (pages_per_range = 32, autosummarize = on);
ALTER TABLE stormops.customer_journeys ALTER COLUMN journey_id SET DEFAULT stormops.new_id();
-- 0.2.0: a whole row may be written, as mappers of objects do; what role_matrix() does not name keeps its value.
CREATE OR REPLACE TRIGGER given_once BEFORE UPDATE OF tenant_id, journey_id, property_id, storm_id ON stormops.customer_journeys
    FOR EACH ROW EXECUTE FUNCTION stormops_internal.given_once('tenant_id', 'journey_id', 'property_id', 'storm_id');
COMMENT ON TABLE stormops.customer_journeys IS 'Touches between a tenant and the people of a property, one row a touch.';
COMMENT ON COLUMN stormops.customer_journeys.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.customer_journeys.journey_id IS 'UUID of the touch; version 7 by default.';
COMMENT ON COLUMN stormops.customer_journeys.property_id IS 'The property, of the same tenant.';
COMMENT ON COLUMN stormops.customer_journeys.storm_id IS 'The storm that the touch belongs to, if any.';
COMMENT ON COLUMN stormops.customer_journeys.touch IS 'What happened: call, visit, inspection, quote, conversion, ...';
COMMENT ON COLUMN stormops.customer_journeys.channel IS 'By which way: door, phone, e-mail, search, ...';
COMMENT ON COLUMN stormops.customer_journeys.direction IS 'outbound (from the tenant) or inbound.';
COMMENT ON COLUMN stormops.customer_journeys.occurred_at IS 'When.';
COMMENT ON COLUMN stormops.customer_journeys.value IS 'Worth of the touch in the tenant''s currency, for conversions.';
