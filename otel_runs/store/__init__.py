"""The write side's database: tables, types, engine, migrations."""
