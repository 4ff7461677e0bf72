CREATE TABLE IF NOT EXISTS stormops.storm_footprints (
    tenant_id   uuid NOT NULL,
    storm_id    uuid NOT NULL,
    band        smallint NOT NULL CHECK (band BETWEEN 1 AND 20),
    min_size_mm numeric(4, 1) NOT NULL CHECK (min_size_mm BETWEEN 0 AND 300),
    geometry    jsonb NOT NULL CHECK (geometry ->> 'type' = 'MultiPolygon'),
    positions   integer NOT NULL CHECK (positions BETWEEN 4 AND 100000),
    west        double precision NOT NULL CHECK (west BETWEEN -180 AND 180),
    south       double precision NOT NULL CHECK (south BETWEEN -90 AND 90),
    east        double precision NOT NULL CHECK (east BETWEEN -180 AND 180),
    north       double precision NOT NULL CHECK (north BETWEEN -90 AND 90),
    set_at      timestamptz NOT NULL CHECK (isfinite(set_at)),
    set_by      text NOT NULL,
    acting_user uuid,
    PRIMARY KEY (tenant_id, storm_id, band),
    FOREIGN KEY (tenant_id, storm_id) REFERENCES stormops.storms,
    CHECK (north >= south AND east >= west)
);
COMMENT ON TABLE stormops.storm_footprints IS 'Where a storm hit, in bands of size: polygons that set_footprint() has checked. A place belongs to the band of the largest size that it stands in.';
COMMENT ON COLUMN stormops.storm_footprints.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.storm_footprints.storm_id IS 'The storm, of the same tenant.';
COMMENT ON COLUMN stormops.storm_footprints.band IS '1 for the smallest size of the footprint, up to 20.';
COMMENT ON COLUMN stormops.storm_footprints.min_size_mm IS 'Hail of at least this diameter, millimetres, 0 to 300; 0: of any size.';
COMMENT ON COLUMN stormops.storm_footprints.geometry IS 'GeoJSON MultiPolygon (RFC 7946), degrees (WGS 84).';
COMMENT ON COLUMN stormops.storm_footprints.positions IS 'Positions of all its rings.';
COMMENT ON COLUMN stormops.storm_footprints.west IS 'Its bounds, degrees of longitude.';
COMMENT ON COLUMN stormops.storm_footprints.south IS 'Its bounds, degrees of latitude.';
COMMENT ON COLUMN stormops.storm_footprints.east IS 'Its bounds, degrees of longitude.';
COMMENT ON COLUMN stormops.storm_footprints.north IS 'Its bounds, degrees of latitude.';
COMMENT ON COLUMN stormops.storm_footprints.set_at IS 'When it was set.';
COMMENT ON COLUMN stormops.storm_footprints.set_by IS 'The database role that set it.';
COMMENT ON COLUMN stormops.storm_footprints.acting_user IS 'The tenant''s user on whose behalf it was set, if the context named one.';
