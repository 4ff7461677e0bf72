\if :new
SELECT set_config('app.current_tenant', '@tenant@', false);
\set new 0
\endif
