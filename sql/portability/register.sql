-- What of portability the whole platform must know of.

-- Tables that hold no tenant's rows.
INSERT INTO pg_temp.installation_tables (table_name) VALUES
    ('erasures');

-- Which kind of use may execute which function.
INSERT INTO pg_temp.granted_functions (signature, kinds) VALUES
    ('stormops.export_tenant_data(uuid)', '{app,trusted_app,operator}'),
    ('stormops.export_tenant_rows(uuid)', '{app,trusted_app,operator}'),
    ('stormops.export_table_csv(text,uuid)', '{app,trusted_app,operator}'),
    ('stormops.import_tenant_rows(text)', '{operator}'),
    ('stormops.import_tenant_rows(text,uuid,text)', '{operator}'),
    ('stormops.erase_tenant(uuid,integer)', '{operator}'),
    ('stormops.erase_property(uuid)', '{app,trusted_app}');
