"""The history in SQL: engine, tables, writer, readers, locks and views. Synchronous."""
