-- Signed tokens: whose are taken, and those that the database issues itself.

CREATE FUNCTION stormops.login_challenge() RETURNS text
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'login_challenge_wrapper';
COMMENT ON FUNCTION stormops.login_challenge() IS 'What a bound token must hold in its claim nonce: 43 characters drawn at random for this transaction of this session, and of no use in another.';

CREATE FUNCTION stormops_internal.new_signing_key() RETURNS TABLE (private_key bytea, jwk text)
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'new_signing_key_wrapper';
COMMENT ON FUNCTION stormops_internal.new_signing_key() IS 'A new Ed25519 key pair: the private half (32 bytes) and the public one as a JWK.';

CREATE FUNCTION stormops_internal.read_jwks(jwks text) RETURNS TABLE (kid text, algorithm text, jwk text, left_out text)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'read_jwks_wrapper';
COMMENT ON FUNCTION stormops_internal.read_jwks(text) IS 'The keys of a JWK set that can verify tokens, checked; and those that cannot, without jwk, each with the reason. Error: 22023.';

CREATE FUNCTION stormops_internal.sign_token(private_key bytea, kid text, claims text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'sign_token_wrapper';
COMMENT ON FUNCTION stormops_internal.sign_token(bytea, text, text) IS 'A token of these claims (a JSON object), signed by an Ed25519 private key.';

CREATE FUNCTION stormops.login(token text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE
    AS 'MODULE_PATHNAME', 'stormops_login';
COMMENT ON FUNCTION stormops.login(text) IS 'Verifies a signed token (JWT of at most 8192 bytes: EdDSA, ES256, RS256 or HS256) and sets tenant, user and role for the rest of the transaction. Errors: 28000 login refused, whatever the reason; 25001 the transaction works in another tenant, or logged in as another user, already.';

CREATE FUNCTION stormops.trust_issuer(
    issuer text, audience text, jwks jsonb, bound boolean DEFAULT false,
    tenant_claim text DEFAULT 'tenant_id', user_claim text DEFAULT 'sub', role_claim text DEFAULT 'role',
    OUT kid text, OUT algorithm text, OUT left_out text
) RETURNS SETOF record
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    IF num_nulls(trust_issuer.issuer, trust_issuer.audience, jwks, trust_issuer.bound,
                 trust_issuer.tenant_claim, trust_issuer.user_claim, trust_issuer.role_claim) > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'issuer, audience, keys and claims must not be null',
            HINT = 'SELECT * FROM stormops.trust_issuer(''https://login.example'', ''stormops'', ''{"keys": [ ... ]}'');';
    END IF;
    IF trust_issuer.issuer = 'stormops' OR char_length(trust_issuer.issuer) NOT BETWEEN 1 AND 500
        OR char_length(trust_issuer.audience) NOT BETWEEN 1 AND 500
        OR NOT (SELECT bool_and(char_length(c) BETWEEN 1 AND 200)
                FROM unnest(ARRAY[trust_issuer.tenant_claim, trust_issuer.user_claim, trust_issuer.role_claim]) AS c) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'issuer, audience or claim is not valid',
            DETAIL = 'Issuer and audience have 1 to 500 characters, the name of a claim 1 to 200; the issuer stormops is the database''s own.',
            HINT = 'Take iss and aud as the provider writes them.';
    END IF;
    INSERT INTO stormops_internal.token_issuers AS i (issuer, audience, bound, tenant_claim, user_claim, role_claim)
    VALUES (trust_issuer.issuer, trust_issuer.audience, trust_issuer.bound,
        trust_issuer.tenant_claim, trust_issuer.user_claim, trust_issuer.role_claim)
    ON CONFLICT ON CONSTRAINT token_issuers_pkey DO UPDATE
    SET audience = excluded.audience, bound = excluded.bound, tenant_claim = excluded.tenant_claim,
        user_claim = excluded.user_claim, role_claim = excluded.role_claim,
        trusted_at = excluded.trusted_at, trusted_by = excluded.trusted_by;
    DELETE FROM stormops_internal.token_keys AS k WHERE k.issuer = trust_issuer.issuer;
    RETURN QUERY
        WITH given AS MATERIALIZED (
            SELECT r.* FROM stormops_internal.read_jwks(jwks::text) AS r
        ), taken AS (
            INSERT INTO stormops_internal.token_keys AS k (issuer, kid, algorithm, jwk)
            SELECT trust_issuer.issuer, g.kid, g.algorithm, g.jwk FROM given AS g WHERE g.left_out IS NULL
            RETURNING k.kid, k.algorithm
        )
        SELECT t.kid, t.algorithm, NULL::text FROM taken AS t
        UNION ALL SELECT g.kid, g.algorithm, g.left_out FROM given AS g WHERE g.left_out IS NOT NULL;
END
$$;
COMMENT ON FUNCTION stormops.trust_issuer(text, text, jsonb, boolean, text, text, text) IS 'Trusts the tokens of an issuer (iss) for an audience (aud), signed by a key of this set (JWKS, up to 100 kB); a second call replaces the set. bound: only tokens whose nonce is login_challenge(). *_claim: the claims with tenant, user and role. Returns the keys, and why one is left_out. For superusers. Errors: 22004; 22023 a bad name, a weak, malformed or private key, no kid, or no usable key.';

CREATE FUNCTION stormops.distrust_issuer(issuer text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    DELETE FROM stormops_internal.token_keys AS k WHERE k.issuer = distrust_issuer.issuer;
    DELETE FROM stormops_internal.signing_keys WHERE distrust_issuer.issuer = 'stormops';
    DELETE FROM stormops_internal.token_issuers AS i WHERE i.issuer = distrust_issuer.issuer;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'issuer is not trusted',
            HINT = 'SELECT * FROM stormops.issuers();';
    END IF;
END
$$;
COMMENT ON FUNCTION stormops.distrust_issuer(text) IS 'Takes no token of this issuer any more, from the next login of every session; stormops: the database''s own, whose signing key is deleted. For superusers. Error: P0002 not trusted.';

CREATE FUNCTION stormops.issuers(
    OUT issuer text, OUT audience text, OUT bound boolean, OUT tenant_claim text, OUT user_claim text, OUT role_claim text,
    OUT kid text, OUT algorithm text, OUT not_after timestamptz, OUT trusted_at timestamptz, OUT trusted_by text
) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT i.issuer, i.audience, i.bound, i.tenant_claim, i.user_claim, i.role_claim,
        k.kid, k.algorithm, k.not_after, i.trusted_at, i.trusted_by
    FROM stormops_internal.token_issuers AS i LEFT JOIN stormops_internal.token_keys AS k ON k.issuer = i.issuer
    ORDER BY i.issuer, k.kid
$$;
COMMENT ON FUNCTION stormops.issuers() IS 'Whose tokens login() takes: a row for each key, without the key. not_after: when the key ends; NULL: when it leaves the set. For operators.';

CREATE FUNCTION stormops.create_signing_key(bound boolean DEFAULT false) RETURNS text
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO stormops_internal.token_issuers AS i (issuer, audience, bound, tenant_claim, user_claim, role_claim)
    VALUES ('stormops', 'stormops', coalesce(create_signing_key.bound, false), 'tenant_id', 'sub', 'role')
    ON CONFLICT ON CONSTRAINT token_issuers_pkey DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'there is a signing key already',
            HINT = 'SELECT stormops.rotate_signing_key();';
    END IF;
    RETURN stormops.rotate_signing_key();
END
$$;
COMMENT ON FUNCTION stormops.create_signing_key(boolean) IS 'Makes the Ed25519 key pair that issue_token() signs with, and trusts it as the issuer stormops. bound: only tokens whose nonce is login_challenge(). Returns its kid. For superusers. Error: 55000 there is one.';

CREATE FUNCTION stormops.rotate_signing_key(overlap interval DEFAULT '1 hour') RETURNS text
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    new_kid text := stormops.new_id()::text;
    pair record;
BEGIN
    IF overlap IS NULL OR overlap NOT BETWEEN interval '0' AND interval '1 day' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'overlap is not valid',
            DETAIL = 'Tokens of the old key are taken for so much longer: 0 to 1 day.', HINT = 'SELECT stormops.rotate_signing_key(''1 hour'');';
    END IF;
    IF NOT EXISTS (SELECT FROM stormops_internal.token_issuers AS i WHERE i.issuer = 'stormops') THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'there is no signing key',
            HINT = 'SELECT stormops.create_signing_key();';
    END IF;
    DELETE FROM stormops_internal.signing_keys;
    DELETE FROM stormops_internal.token_keys AS k WHERE k.issuer = 'stormops' AND (k.not_after <= now() OR overlap = interval '0');
    UPDATE stormops_internal.token_keys AS k SET not_after = now() + overlap WHERE k.issuer = 'stormops' AND k.not_after IS NULL;
    SELECT p.private_key, p.jwk INTO pair FROM stormops_internal.new_signing_key() AS p;
    INSERT INTO stormops_internal.signing_keys (kid, private_key) VALUES (new_kid, pair.private_key);
    INSERT INTO stormops_internal.token_keys (issuer, kid, algorithm, jwk) VALUES ('stormops', new_kid, 'EdDSA', pair.jwk);
    RETURN new_kid;
END
$$;
COMMENT ON FUNCTION stormops.rotate_signing_key(interval) IS 'Makes a new key for issue_token(). Tokens of the old one, whose private half is deleted, are taken for overlap longer (0 to 1 day; 0: not at all). Returns the new kid. For superusers. Errors: 22023; 55000 there is no key.';

CREATE FUNCTION stormops.issue_token(
    tenant_id uuid, user_id uuid, lifetime interval DEFAULT '15 minutes', role text DEFAULT NULL, nonce text DEFAULT NULL
) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_variable
DECLARE
    issued_at bigint := floor(extract(epoch FROM clock_timestamp()));
    key stormops_internal.signing_keys;
BEGIN
    -- Left out, or sent as NULL or '' by what fills in every argument.
    lifetime := coalesce(lifetime, '00:15:00');
    PERFORM stormops_internal.visit_all_tenants();
    IF tenant_id IS NULL OR user_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'tenant and user must not be null',
            HINT = 'SELECT stormops.issue_token(tenant_id, user_id);';
    END IF;
    IF lifetime IS NULL OR lifetime NOT BETWEEN interval '1 second' AND interval '1 day' OR char_length(nonce) > 200 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'lifetime or nonce is not valid',
            DETAIL = 'A token lives 1 second to 1 day; a nonce has at most 200 characters.',
            HINT = 'SELECT stormops.issue_token(tenant_id, user_id, ''15 minutes'');';
    END IF;
    IF role IS NOT NULL THEN
        PERFORM stormops_internal.check_role(role);
    END IF;
    IF NOT EXISTS (
        SELECT FROM stormops.users AS u JOIN stormops.tenants AS t ON t.tenant_id = u.tenant_id
        WHERE u.tenant_id = issue_token.tenant_id AND u.user_id = issue_token.user_id AND u.removed_at IS NULL AND t.status <> 'closed'
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', MESSAGE = 'no such user of an open tenant',
            HINT = 'SELECT * FROM stormops.list_tenants();';
    END IF;
    SELECT k.* INTO key FROM stormops_internal.signing_keys AS k;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'there is no signing key',
            HINT = 'A superuser makes one: SELECT stormops.create_signing_key();';
    END IF;
    PERFORM stormops_internal.log_event(tenant_id, 'issue_token', NULL, role, NULL, user_id);
    RETURN stormops_internal.sign_token(key.private_key, key.kid, jsonb_strip_nulls(jsonb_build_object(
        'iss', 'stormops', 'aud', 'stormops', 'sub', user_id, 'tenant_id', tenant_id, 'role', role, 'nonce', nonce,
        'iat', issued_at, 'exp', issued_at + ceil(extract(epoch FROM lifetime))::bigint))::text);
END
$$;
COMMENT ON FUNCTION stormops.issue_token(uuid, uuid, interval, text, text) IS 'A token that logs a user into its tenant, signed by the database''s own key (EdDSA). lifetime: 1 second to 1 day; role: the most it may do; nonce: login_challenge() of the transaction that will use it. Writes tenant_events. For operators. Errors: 22004; 22023 lifetime, nonce or role; 55000 there is no signing key; P0002 no such user of an open tenant.';
