"""
Reports, from the history to the people: `facts` gathers what a digest is made of, `sending` composes and delivers.

What a digest says is thought in `crawler.report`, what is on its way is kept in `crawler.db.outbox`; this room is
what goes between them. It imports nothing here, so that a run without reports loads no template engine.
"""
