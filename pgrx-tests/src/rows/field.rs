use super::Row;

pub(super) const ROWS: &[Row] = &[
    ("storms", "storm_id, event_id, name", "'{id}', 'E-{n}', 'Storm {n}'"),
    ("properties", "property_id, external_id, address", "'{id}', 'P-{n}', '{n} Elm St'"),
    (
        "customer_journeys",
        "journey_id, property_id, storm_id, touch, channel",
        "'{id}', '{property}', '{storm}', 'call', 'phone'",
    ),
    ("contact_consents", "consent_id, property_id, channel, consented", "'{id}', '{property}', 'phone', false"),
    (
        "attribution_days",
        "storm_id, day, model, channel, credit, value, journeys, touches, computed_at",
        "'{storm}', '2024-01-0{n}', 'linear', 'phone', 1, 0, 1, 1, '2024-01-03'",
    ),
    (
        "storm_footprints",
        "storm_id, band, min_size_mm, geometry, positions, west, south, east, north, set_at, set_by",
        "'{storm}', {n}, 25, '{\"type\": \"MultiPolygon\"}', 4, -98, 32, -97, 33, '2024-01-03', 'test'",
    ),
];
