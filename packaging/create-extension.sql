-- Run once by the image, in the database POSTGRES_DB.
CREATE EXTENSION stormops;
