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
];
