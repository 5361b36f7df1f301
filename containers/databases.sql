-- Run once by the container of PostgreSQL, as its superuser: Prefect makes the extension pg_trgm itself.
create database prefect;
create database mlflow;
create database ledger;
