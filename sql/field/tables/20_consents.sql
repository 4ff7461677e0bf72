CREATE TABLE IF NOT EXISTS stormops.contact_consents (
    tenant_id   uuid NOT NULL,
    consent_id  uuid NOT NULL,
    property_id uuid NOT NULL,
    channel     text NOT NULL CHECK (char_length(channel) BETWEEN 1 AND 50),
    consented   boolean NOT NULL,
    source      text CHECK (char_length(source) BETWEEN 1 AND 200),
    recorded_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(recorded_at)),
    PRIMARY KEY (tenant_id, consent_id),
    FOREIGN KEY (tenant_id, property_id) REFERENCES stormops.properties
);
CREATE INDEX IF NOT EXISTS contact_consents_property ON stormops.contact_consents (tenant_id, property_id, channel, recorded_at);
ALTER TABLE stormops.contact_consents ALTER COLUMN consent_id SET DEFAULT stormops.new_id();
COMMENT ON TABLE stormops.contact_consents IS 'What the people of a property said to being contacted, by channel, one row each time they said so; the latest counts. Append-only: it is the evidence. Who may not be contacted at all has properties.do_not_contact.';
COMMENT ON COLUMN stormops.contact_consents.tenant_id IS 'The tenant; defaults to the one in context.';
COMMENT ON COLUMN stormops.contact_consents.consent_id IS 'UUID; version 7 by default.';
COMMENT ON COLUMN stormops.contact_consents.property_id IS 'The property, of the same tenant.';
COMMENT ON COLUMN stormops.contact_consents.channel IS 'By which way: door, phone, e-mail, ..., as in customer_journeys.';
COMMENT ON COLUMN stormops.contact_consents.consented IS 'True: they agreed to it; false: they refused it.';
COMMENT ON COLUMN stormops.contact_consents.source IS 'How that is known: a form, a call, a list; 1 to 200 characters.';
COMMENT ON COLUMN stormops.contact_consents.recorded_at IS 'Since when.';
