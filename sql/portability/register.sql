-- What of portability the whole platform must know of.

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.export_tenant_data(uuid)', '{app,trusted_app,operator}');
