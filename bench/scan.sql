SELECT count(*), avg(building_value), min(year_built), count(*) FILTER (WHERE do_not_contact)
FROM stormops.properties AS p
WHERE :mine(p);
