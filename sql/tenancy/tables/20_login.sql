CREATE TABLE IF NOT EXISTS stormops_internal.token_issuers (
    issuer       text COLLATE "C" PRIMARY KEY CHECK (char_length(issuer) BETWEEN 1 AND 500),
    audience     text NOT NULL CHECK (char_length(audience) BETWEEN 1 AND 500),
    bound        boolean NOT NULL,
    tenant_claim text NOT NULL CHECK (char_length(tenant_claim) BETWEEN 1 AND 200),
    user_claim   text NOT NULL CHECK (char_length(user_claim) BETWEEN 1 AND 200),
    role_claim   text NOT NULL CHECK (char_length(role_claim) BETWEEN 1 AND 200),
    trusted_at   timestamptz NOT NULL DEFAULT now() CHECK (isfinite(trusted_at)),
    trusted_by   text NOT NULL DEFAULT current_user CHECK (char_length(trusted_by) <= 63)
);
CREATE OR REPLACE TRIGGER announce_standing AFTER DELETE OR UPDATE ON stormops_internal.token_issuers
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.announce_standing();
COMMENT ON TABLE stormops_internal.token_issuers IS 'Whose tokens login() takes. Written by trust_issuer() and distrust_issuer(); granted to nobody.';
COMMENT ON COLUMN stormops_internal.token_issuers.issuer IS 'The claim iss, character by character.';
COMMENT ON COLUMN stormops_internal.token_issuers.audience IS 'What the claim aud must be or contain.';
COMMENT ON COLUMN stormops_internal.token_issuers.bound IS 'True: a token must name login_challenge() in its claim nonce.';
COMMENT ON COLUMN stormops_internal.token_issuers.tenant_claim IS 'The claim that holds the tenant''s id.';
COMMENT ON COLUMN stormops_internal.token_issuers.user_claim IS 'The claim that holds the user''s id.';
COMMENT ON COLUMN stormops_internal.token_issuers.role_claim IS 'The claim that may narrow the user''s role.';
COMMENT ON COLUMN stormops_internal.token_issuers.trusted_at IS 'When it was trusted, or trusted again.';
COMMENT ON COLUMN stormops_internal.token_issuers.trusted_by IS 'The database role that did.';

CREATE TABLE IF NOT EXISTS stormops_internal.token_keys (
    issuer     text COLLATE "C" NOT NULL REFERENCES stormops_internal.token_issuers,
    kid        text COLLATE "C" NOT NULL CHECK (octet_length(kid) BETWEEN 1 AND 200),
    algorithm  text NOT NULL CHECK (algorithm IN ('EdDSA', 'ES256', 'RS256', 'HS256')),
    jwk        text NOT NULL CHECK (char_length(jwk) BETWEEN 2 AND 5000),
    trusted_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(trusted_at)),
    not_after  timestamptz CHECK (isfinite(not_after)),
    PRIMARY KEY (issuer, kid)
);
CREATE OR REPLACE TRIGGER announce_standing AFTER DELETE OR UPDATE ON stormops_internal.token_keys
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.announce_standing();
COMMENT ON TABLE stormops_internal.token_keys IS 'The keys that verify tokens. Written by trust_issuer(), distrust_issuer() and rotate_signing_key(); granted to nobody, since the key of HS256 is a secret.';
COMMENT ON COLUMN stormops_internal.token_keys.issuer IS 'Whose key it is.';
COMMENT ON COLUMN stormops_internal.token_keys.kid IS 'The header member kid, which chooses the key.';
COMMENT ON COLUMN stormops_internal.token_keys.algorithm IS 'The one algorithm that the key is for.';
COMMENT ON COLUMN stormops_internal.token_keys.jwk IS 'The key (RFC 7517).';
COMMENT ON COLUMN stormops_internal.token_keys.trusted_at IS 'When it was trusted.';
COMMENT ON COLUMN stormops_internal.token_keys.not_after IS 'When it ends; NULL: when it leaves the set.';

CREATE TABLE IF NOT EXISTS stormops_internal.signing_keys (
    kid         text COLLATE "C" PRIMARY KEY CHECK (octet_length(kid) BETWEEN 1 AND 200),
    private_key bytea NOT NULL CHECK (octet_length(private_key) = 32),
    made_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(made_at))
);
COMMENT ON TABLE stormops_internal.signing_keys IS 'The private half of the key that issue_token() signs with: at most one row. Granted to nobody; a dump of the database holds it.';
COMMENT ON COLUMN stormops_internal.signing_keys.kid IS 'Its public half in token_keys, under the issuer stormops.';
COMMENT ON COLUMN stormops_internal.signing_keys.private_key IS 'The Ed25519 seed (RFC 8032), 32 bytes.';
COMMENT ON COLUMN stormops_internal.signing_keys.made_at IS 'When it was made.';

CREATE TABLE IF NOT EXISTS stormops.break_glass_grants (
    tenant_id  uuid NOT NULL REFERENCES stormops.tenants,
    grant_id   uuid NOT NULL,
    opened_by  text NOT NULL CHECK (char_length(opened_by) <= 63),
    opened_at  timestamptz NOT NULL DEFAULT now() CHECK (isfinite(opened_at)),
    opened_in  xid8 NOT NULL DEFAULT pg_current_xact_id(),
    expires_at timestamptz NOT NULL CHECK (isfinite(expires_at)),
    closed_at  timestamptz CHECK (isfinite(closed_at)),
    reason     text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 300),
    ticket     text NOT NULL CHECK (char_length(ticket) BETWEEN 1 AND 100),
    PRIMARY KEY (tenant_id, grant_id)
);
-- 0.2.0: how many transactions the cluster has had is no tenant's to read; the row itself says which transaction wrote it.
ALTER TABLE stormops.break_glass_grants DROP COLUMN IF EXISTS opened_in;
ALTER TABLE stormops.break_glass_grants ALTER COLUMN grant_id SET DEFAULT stormops.new_id();
CREATE OR REPLACE TRIGGER announce_standing AFTER DELETE OR UPDATE ON stormops.break_glass_grants
    FOR EACH STATEMENT EXECUTE FUNCTION stormops_internal.announce_standing();
COMMENT ON TABLE stormops.break_glass_grants IS 'Which operator may read which tenant''s rows, why and until when. Written by open_break_glass() and close_break_glass(); none is ever deleted.';
COMMENT ON COLUMN stormops.break_glass_grants.tenant_id IS 'The tenant.';
COMMENT ON COLUMN stormops.break_glass_grants.grant_id IS 'UUID version 7, made by the server.';
COMMENT ON COLUMN stormops.break_glass_grants.opened_by IS 'The database role that opened it, and the only one that it serves.';
COMMENT ON COLUMN stormops.break_glass_grants.opened_at IS 'When it was opened.';
COMMENT ON COLUMN stormops.break_glass_grants.expires_at IS 'When it ends.';
COMMENT ON COLUMN stormops.break_glass_grants.closed_at IS 'When it was closed before its end.';
COMMENT ON COLUMN stormops.break_glass_grants.reason IS 'Why, in the operator''s words.';
COMMENT ON COLUMN stormops.break_glass_grants.ticket IS 'The ticket that asked for it.';
