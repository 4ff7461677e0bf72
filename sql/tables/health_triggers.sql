-- The triggers that count. A table that had none may hold rows that nobody counted: that is put
-- right in the same transaction, while no writer can pass.
DO $$
DECLARE
    t record;
    missing boolean;
BEGIN
    FOR t IN SELECT c.table_name FROM stormops.counted_tables() AS c ORDER BY c.table_name LOOP
        missing := NOT EXISTS (
            SELECT FROM pg_trigger AS g
            WHERE g.tgrelid = format('stormops.%I', t.table_name)::regclass AND g.tgname = 'count_inserted');
        EXECUTE format('CREATE OR REPLACE TRIGGER count_inserted AFTER INSERT ON stormops.%I REFERENCING NEW TABLE AS changed_rows'
            ' FOR EACH STATEMENT EXECUTE FUNCTION stormops.count_rows()', t.table_name);
        EXECUTE format('CREATE OR REPLACE TRIGGER count_deleted AFTER DELETE ON stormops.%I REFERENCING OLD TABLE AS changed_rows'
            ' FOR EACH STATEMENT EXECUTE FUNCTION stormops.count_rows()', t.table_name);
        EXECUTE format('CREATE OR REPLACE TRIGGER count_truncated AFTER TRUNCATE ON stormops.%I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION stormops.count_rows()', t.table_name);
        IF missing THEN
            PERFORM stormops.recount_rows(t.table_name);
        END IF;
    END LOOP;
END
$$;
