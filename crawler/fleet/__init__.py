"""
More than one machine: workers that share the accounts, on PostgreSQL.

A queue delivers jobs; the lock, the fence and the ledger decide. A job may come twice, late, or on two hosts at once
without harm, so that the queue (`queue`, the one file that knows it) could be another. `crawler run` loads nothing of
this package.
"""
