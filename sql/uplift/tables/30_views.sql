CREATE OR REPLACE VIEW stormops.models WITH (security_invoker, security_barrier) AS
SELECT m.tenant_id, m.model_version, m.kind, m.features, m.notes, octet_length(m.model) + coalesce(octet_length(m.control), 0) AS bytes,
    encode(m.digest, 'hex') AS digest, m.made_at, m.made_by, m.acting_user, m.retired_at
FROM stormops.uplift_models AS m;
COMMENT ON VIEW stormops.models IS 'The models without their files. Columns as in uplift_models; bytes: of the files; digest: their SHA-256 in hexadecimal.';
