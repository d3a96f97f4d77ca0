"""The read side: filters as a table, keyset pages, runs by id or prefix, statistics. Knows no terminal and no HTTP."""
